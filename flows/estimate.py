"""What a profile will need, before anything is fetched: memory, disk and time, all estimates.

Everything is computed from the model's shape and the profile's own numbers. What was left out or
rounded is said where it is; no figure here comes from a GPU that somebody ran this on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from components.config import PostTrain, Profile, Shape

Precision = Literal["fp32", "bf16", "nf4"]

GB = 10**9
# NF4 with double quantisation takes 4.127 bits a weight (QLoRA, arXiv 2305.14314, section 3);
# embedding and LM head stay in bfloat16.
_BYTES = {"fp32": 4.0, "bf16": 2.0, "nf4": 4.127 / 8}
# A LoRA weight is single precision whatever the model is, as are its gradient and both AdamW
# moments.
_ADAPTER_BYTES = 16
# What autograd keeps of a token in a block that has LoRA with dropout on all seven projections, in
# bytes a unit of hidden, feed-forward, query and key width. Fitted to what transformers 5.23 and
# peft 0.21 save (tests/flows/test_estimate.py measures it again); no checkpointing of activations.
_KEPT = {"fp32": (42, 20, 16, 8), "bf16": (42, 14, 12, 4), "nf4": (42, 14, 12, 4)}
_KEPT_WITHOUT_LORA = (16, 16, 8, 8)  # single precision, full fine-tuning
_RUNTIME = 1.5 * GB  # CUDA context and allocator, or Python with its libraries
# Prompts may be as long as the profile allows; on average they are short.
_PROMPT_TOKENS = 100
# Teacher's and student's answers for training are written in batches of this size.
_ANSWER_BATCH = 64
_ARMS = 4
_REFERENCE_DISK = 2 << 30  # larger references are not stored (components/training/sides.py)
# Shares of a GPU's peak that ordinary PyTorch code reaches, and the least time a block takes for a
# token when Python launches its kernels one by one.
_COMPUTE_SHARE, _BANDWIDTH_SHARE, _BLOCK_SECONDS = 0.35, 0.6, 1e-3


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU by its maker's figures: memory, dense bfloat16 arithmetic, memory bandwidth."""

    name: str
    memory: float  # bytes
    flops: float  # a second
    bandwidth: float  # bytes a second


GPUS = (
    Gpu("RTX 4090 24 GB", 24 * GB, 165e12, 1008e9),
    Gpu("A100 80 GB", 80 * GB, 312e12, 2039e9),
    Gpu("H100 80 GB", 80 * GB, 989e12, 3350e9),
)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one device, by what holds them."""

    weights: float
    adapter: float  # weights, gradients and moments
    passing: float  # activations in training, the key-value cache in generation

    @property
    def total(self) -> float:
        """All of it, with what the runtime takes."""
        return self.weights + self.adapter + self.passing + _RUNTIME

    def sharded(self, devices: int) -> float:
        """Bytes on each of `devices` that share weights and adapter, as FSDP does."""
        return (self.weights + self.adapter) / devices + self.passing + _RUNTIME


def block_parameters(shape: Shape) -> int:
    """Return the weights of the seven projections of one block; biases and norms do not count."""
    query, key = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    return shape.hidden * (2 * query + 2 * key + 3 * shape.feed_forward)


def parameters(shape: Shape) -> int:
    """Return the model's parameters without biases and norms, which are less than 0.1 %."""
    embeddings = shape.vocabulary * shape.hidden * (1 if shape.tied else 2)
    return embeddings + shape.layers * block_parameters(shape)


def adapter_parameters(shape: Shape, *, rank: int, depth: int) -> int:
    """Return the weights of LoRA on the seven projections of `depth` blocks: r (in + out) each."""
    query, key = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    ends = 7 * shape.hidden + 2 * query + 2 * key + 3 * shape.feed_forward
    return depth * rank * ends


def weight_bytes(shape: Shape, precision: Precision) -> float:
    """Return the bytes of the loaded weights."""
    blocks = shape.layers * block_parameters(shape)
    rest = parameters(shape) - blocks
    return blocks * _BYTES[precision] + rest * max(_BYTES[precision], 2)


def kept_bytes(shape: Shape, precision: Precision) -> float:
    """Return what one token leaves in one block for the backward pass through LoRA, in bytes."""
    return _per_unit(shape, _KEPT[precision])


def _per_unit(shape: Shape, rates: tuple[int, int, int, int]) -> float:
    widths = (
        shape.hidden,
        shape.feed_forward,
        shape.heads * shape.head_width,
        shape.kv_heads * shape.head_width,
    )
    return sum(rate * width for rate, width in zip(rates, widths, strict=True))


def depth_of(profile: Profile, shape: Shape) -> int:
    """Return the deepest target layer: the student runs no further."""
    layers = profile.probe.target_layers
    return shape.layers if layers == "auto" else max(layers)


def training_memory(profile: Profile, shape: Shape, precision: Precision) -> Memory:
    """Return the memory of one training step: the student, its adapter, both sides' activations."""
    train, depth = profile.train, depth_of(profile, shape)
    lora = adapter_parameters(shape, rank=train.lora.r, depth=depth)
    tokens = (train.micro_batch or train.batch) * _pair_tokens(profile)
    return Memory(
        weights=weight_bytes(shape, precision),
        adapter=lora * _ADAPTER_BYTES,
        passing=tokens * depth * kept_bytes(shape, precision),
    )


def _pair_tokens(profile: Profile) -> int:
    """Return the tokens of a pair of sequences: a prompt with its completion, on both sides."""
    train = profile.train
    return 2 * _prompt_tokens(profile) + train.refusal_tokens + train.retain_tokens


def _prompt_tokens(profile: Profile) -> int:
    return min(_PROMPT_TOKENS, profile.train.max_prompt_tokens)


def generation_memory(profile: Profile, shape: Shape, precision: Precision) -> Memory:
    """Return the memory of the longest batch of the evaluation: weights and key-value cache."""
    evaluate = profile.evaluate
    longest = _PROMPT_TOKENS + max(evaluate.max_new_tokens.values())
    cache = 2 * shape.layers * shape.kv_heads * shape.head_width * max(_BYTES[precision], 2)
    return Memory(weight_bytes(shape, precision), 0, evaluate.batch * longest * cache)


def building_memory(profile: Profile, shape: Shape) -> Memory | None:
    """Return the memory of full fine-tuning where the profile makes its pair; None where not.

    Single precision; the logits are held three times (as computed, normalised, gradient).
    """
    if not isinstance(profile.models, PostTrain):
        return None
    phases = [phase for phase in (profile.models.align, profile.models.post_train) if phase]
    tokens = max(phase.micro_batch * phase.max_tokens for phase in phases)
    kept = shape.layers * _per_unit(shape, _KEPT_WITHOUT_LORA) + 3 * 4 * shape.vocabulary
    weights = weight_bytes(shape, "fp32")
    return Memory(weights, 3 * weights, tokens * kept)


def memory_needs(profile: Profile, shape: Shape, precision: Precision) -> dict[str, Memory]:
    """Return the memory of what needs most: training, generation and, if any, building the pair.

    Only the student in training is ever quantised.
    """
    student: Precision = "nf4" if profile.train.load_in_4bit else precision
    needs = {
        "training": training_memory(profile, shape, student),
        "generation": generation_memory(profile, shape, precision),
        "building": building_memory(profile, shape),
    }
    return {name: memory for name, memory in needs.items() if memory}


def artifact_bytes(profile: Profile, shape: Shape) -> float:
    """Return what the stages write: masks (a bit a weight), two adapters, stored states.

    Twice, since DVC keeps a copy in its cache; built pairs count as two checkpoints in fp32.
    """
    train, depth = profile.train, depth_of(profile, shape)
    masks = shape.layers * block_parameters(shape) / 8
    adapters = 2 * 4 * adapter_parameters(shape, rank=train.lora.r, depth=depth)
    layers = profile.probe.target_layers
    targets = profile.probe.target_count if layers == "auto" else len(layers)
    positions = train.harmful_prompts * (train.prompt_tokens + train.refusal_tokens)
    retained = train.retain_prompts * (_prompt_tokens(profile) + train.retain_tokens)
    reference = min(retained * depth * shape.hidden * 4, _REFERENCE_DISK)
    states = positions * targets * shape.hidden * 4 + reference
    built = profile.models.kind != "checkpoints"
    pair = 2 * weight_bytes(shape, "fp32") if built else 0
    return 2 * (masks + adapters + pair) + states


def training_seconds(profile: Profile, shape: Shape, gpu: Gpu) -> float:
    """Return the seconds of training on `gpu`: answers written once, then the steps.

    A token costs 2 operations a weight forward, 2 backward (the model's own weights get no
    gradient), and 2 for the reference pass, down to the deepest target.
    """
    train, depth = profile.train, depth_of(profile, shape)
    weights = depth * block_parameters(shape)
    tokens = train.steps * train.batch * _pair_tokens(profile)
    steps = 6 * weights * tokens / (gpu.flops * _COMPUTE_SHARE)
    written = [
        (train.harmful_prompts, train.refusal_tokens),
        (train.retain_prompts, train.retain_tokens),
    ]
    answers = sum(-(-prompts // _ANSWER_BATCH) * length for prompts, length in written)
    return steps + answers * token_seconds(shape, gpu, batch=_ANSWER_BATCH, length=_PROMPT_TOKENS)


def evaluation_seconds(profile: Profile, shape: Shape, gpu: Gpu) -> float:
    """Return the seconds of the evaluation on `gpu`, if every completion ran to its limit."""
    evaluate, seconds = profile.evaluate, 0.0
    for role, prompts in evaluate.prompts.items():
        length = evaluate.max_new_tokens[role]
        batches = -(-prompts // evaluate.batch)
        step = token_seconds(shape, gpu, batch=evaluate.batch, length=_PROMPT_TOKENS + length // 2)
        seconds += batches * length * step
    return _ARMS * seconds * (2 if evaluate.force_think else 1)


def token_seconds(shape: Shape, gpu: Gpu, *, batch: int, length: int) -> float:
    """Return the seconds in which a batch gets one token more.

    Weights and key-value cache are read once; it cannot be quicker than the launch of its kernels.
    """
    cache = batch * length * 2 * shape.layers * shape.kv_heads * shape.head_width * 2
    reading = (weight_bytes(shape, "bf16") + cache) / (gpu.bandwidth * _BANDWIDTH_SHARE)
    return max(reading, shape.layers * _BLOCK_SECONDS)
