"""What a profile will need, before anything is fetched: memory and disk, all estimates.

Everything is computed from the model's shape and the profile's own numbers. What was left out or
rounded is said where it is; no figure here comes from a GPU that somebody ran this on. accelerate's
estimator knows full fine-tuning alone: neither LoRA nor activations nor the key-value cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import mul
from typing import Literal

from components.core.vocabulary import Form, Role
from components.judges.settings import GuardKind, GuardSettings
from components.lm.engines.protocol import CACHED_TOKENS
from components.models.settings import PostTrain, Shape
from components.prepare.suites import Suite
from components.profile import Profile
from components.train.activations import activation_bytes, asks_for_checkpoints
from components.train.settings import BY_TOKENS

Precision = Literal["fp32", "bf16", "nf4"]

GB = 10**9
# NF4 with double quantisation takes 4.127 bits a weight (QLoRA, arXiv 2305.14314, section 3);
# embedding and LM head stay in bfloat16.
_BYTES = {"fp32": 4.0, "bf16": 2.0, "nf4": 4.127 / 8}
# A LoRA weight is single precision whatever the model is, as are its gradient and both AdamW
# moments.
_ADAPTER_BYTES = 16
_LOGITS_BYTES = 3 * 4  # of one: as computed, normalised, gradient; in single precision
_SAVED_WITHOUT_LORA = (16, 16, 8, 8)  # single precision, full fine-tuning
_RUNTIME = 1.5 * GB  # CUDA context and allocator, or Python with its libraries
_REFERENCE_DISK = 2 << 30  # larger references are not stored (components/train/data.py)
_LIKELY_BYTES = 8 + 4  # of a likely next token: its id and its probability
# What the guards were fine-tuned from: Llama 3.1 8B, Llama 2 13B and Mistral 7B v0.3.
_MISTRAL = Shape.model_validate(
    {"layers": 32, "hidden": 4096, "feed_forward": 14336, "vocabulary": 32768}
    | {"heads": 32, "kv_heads": 8, "head_width": 128}
)
_LLAMA2 = {"layers": 40, "hidden": 5120, "feed_forward": 13824, "heads": 40, "kv_heads": 40}
GUARDS: dict[GuardKind, Shape] = {
    "llama-guard-3": _MISTRAL.model_copy(update={"vocabulary": 128256}),
    "harmbench": _MISTRAL.model_copy(update={**_LLAMA2, "vocabulary": 32000}),
    "wildguard": _MISTRAL,
}
_GUARD_PROMPT_TOKENS = 400  # of a guard's own prompt
_CHARACTERS = 4  # of a token, in English
# Prompts may be as long as the profile allows; on average they are short.
PROMPT_TOKENS = 100
_SHOTS_TOKENS = 600  # 16 short exchanges before a prompt
_SUITE_PROMPTS = 500  # of a suite without a limit: how many it has is seen when it is read


# --- how much an evaluation generates --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Workload:
    """One suite's prompts in one form, which every arm gets."""

    role: Role
    judge: str  # `rules`, or one of evaluate.judges
    completions: int
    prompt: int  # tokens
    tokens: int  # of a completion, at most

    @property
    def longest(self) -> int:
        """Tokens of a prompt with its completion."""
        return self.prompt + self.tokens


def workloads(profile: Profile, suites: Mapping[str, Suite]) -> list[Workload]:
    """Return what every arm gets: the profile's own test prompts and `suites`, in all forms.

    `evaluate.forced_thought` counts as one form more, although with a template that opens the
    thought itself it is none.
    """
    evaluate = profile.evaluate
    sources: list[tuple[Workload, int, tuple[str, ...]]] = []  # plain, samples a prompt, attacks
    for role, prompts in evaluate.prompts.items():
        judge, tokens = evaluate.judge_of(role), evaluate.max_new_tokens[role]
        own = Workload(role, judge, prompts, PROMPT_TOKENS, tokens)
        sources.append((own, evaluate.samples, ()))
    for suite in suites.values():
        prompts, tokens = suite.prompts or _SUITE_PROMPTS, suite.max_new_tokens
        plain = Workload(suite.role, suite.judge, prompts, PROMPT_TOKENS, tokens)
        sources.append((plain, suite.samples, suite.attacks))
    found: list[Workload] = []
    for plain, samples, attacks in sources:
        whole = replace(plain, completions=plain.completions * samples)
        found += [whole] * (2 if evaluate.forced_thought else 1)
        drawn = min(plain.completions, evaluate.attack_prompts) * samples
        for form in dict.fromkeys((*evaluate.attacks, *attacks)):
            before = _SHOTS_TOKENS if form == Form.MANY_SHOT else 0
            if plain.role in evaluate.attack_roles:
                found.append(replace(plain, completions=drawn, prompt=plain.prompt + before))
    return found


# --- sizes of a model ------------------------------------------------------------------------


def _widths(shape: Shape) -> tuple[int, int, int, int]:
    """Return the widths of hidden states, MLP, queries and keys."""
    query, key = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    return shape.hidden, shape.feed_forward, query, key


def block_parameters(shape: Shape) -> int:
    """Return the weights of the seven projections of one block; biases and norms do not count."""
    hidden, feed_forward, query, key = _widths(shape)
    return hidden * (2 * query + 2 * key + 3 * feed_forward)


def parameters(shape: Shape) -> int:
    """Return the model's parameters without biases and norms, which are less than 0.1 %."""
    embeddings = shape.vocabulary * shape.hidden * (1 if shape.tied else 2)
    return embeddings + shape.layers * block_parameters(shape)


def adapter_parameters(shape: Shape, *, rank: int, depth: int) -> int:
    """Return the weights of LoRA on the seven projections of `depth` blocks: r (in + out) each."""
    hidden, feed_forward, query, key = _widths(shape)
    return depth * rank * (7 * hidden + 2 * query + 2 * key + 3 * feed_forward)


def weight_bytes(shape: Shape, precision: Precision) -> float:
    """Return the bytes of the loaded weights."""
    blocks = shape.layers * block_parameters(shape)
    rest = parameters(shape) - blocks
    return blocks * _BYTES[precision] + rest * max(_BYTES[precision], 2)


# --- what a profile needs --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one device, by what holds them."""

    weights: float
    adapter: float  # weights, gradients and moments
    passing: float  # activations in training, the key-value cache in generation

    def on_each_of(self, devices: int) -> float:
        """Bytes on each of `devices` that share weights and adapter, as FSDP does, once each has
        loaded the weights whole (docs/fsdp.yaml); with what the runtime takes."""
        step = (self.weights + self.adapter) / devices + self.passing
        return max(step, self.weights) + _RUNTIME

    @property
    def total(self) -> float:
        """Bytes on a device that shares nothing."""
        return self.on_each_of(1)


def depth_of(profile: Profile, shape: Shape) -> int:
    """Return how many blocks the student runs and adapts: those up to the deepest target layer
    where the method compares states alone, else all."""
    layers = profile.probe.target_layers
    return max(layers) if profile.train.method == "safereact" and layers != "auto" else shape.layers


def prompt_tokens(profile: Profile) -> int:
    """Return the tokens of a training prompt."""
    return min(PROMPT_TOKENS, profile.train.max_prompt_tokens)


def case_tokens(judge: GuardSettings, load: Workload, *, share: float = 1.0) -> int:
    """Return the tokens that a guard reads about a case: its own prompt, the request, and a text of
    so large a share of the longest completion, cut as the profile says."""
    text = min(load.tokens * share, judge.max_characters / _CHARACTERS)
    return round(_GUARD_PROMPT_TOKENS + PROMPT_TOKENS + text)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a profile needs where its model is of this shape and loaded in this precision."""

    profile: Profile
    shape: Shape
    precision: Precision = "bf16"

    @property
    def student(self) -> Precision:
        """The precision of the student in training, the only model that is ever quantised."""
        return "nf4" if self.profile.train.load_in_4bit else self.precision

    def needs(self, loads: Sequence[Workload], *, checkpointed: bool = False) -> dict[str, Memory]:
        """Return the memory of what needs most: training, with its activations `checkpointed` or
        not, generation and, if any, judging by a guard and building the pair."""
        needs = {
            "training": self.training(checkpointed=checkpointed),
            "generation": self.generation(loads),
            "judging": self.judging(loads),
            "building": self.building(),
        }
        return {name: memory for name, memory in needs.items() if memory}

    def training(self, *, checkpointed: bool = False) -> Memory:
        """Return the memory of one training step: the student, its adapter, both sides'
        activations, what is compared with the targets, and logits.

        `checkpointed`: blocks compute their activations again instead of keeping them.
        """
        train, shape, depth = self.profile.train, self.shape, depth_of(self.profile, self.shape)
        rows = train.micro_batch or train.batch
        # Of a retained state: the target, and the difference in single precision.
        retained = prompt_tokens(self.profile) + train.retain_tokens
        compared = rows * retained * depth * shape.hidden * (self._itemsize + 4)
        # The baseline has logits whatever the method is, of one row in place of a pair.
        predicted = (train.refusal_tokens, train.retain_tokens)
        by_tokens = train.method in BY_TOKENS
        logits = rows * (sum if by_tokens else max)(predicted) * shape.vocabulary
        activations = self._activations(checkpointed=checkpointed)
        return Memory(
            weight_bytes(shape, self.student),
            adapter_parameters(shape, rank=train.lora.r, depth=depth) * _ADAPTER_BYTES,
            activations + (0 if by_tokens else compared) + logits * _LOGITS_BYTES,
        )

    def _activations(self, *, checkpointed: bool) -> float:
        """Return the bytes of activations of a forward pass, in pairs of sequences: a prompt with
        its completion, on both sides."""
        train = self.profile.train
        pair = 2 * prompt_tokens(self.profile) + train.refusal_tokens + train.retain_tokens
        return activation_bytes(
            _widths(self.shape),
            self._itemsize,
            tokens=(train.micro_batch or train.batch) * pair,
            blocks=depth_of(self.profile, self.shape),
            checkpointed=checkpointed,
        )

    @property
    def _itemsize(self) -> int:
        return 4 if self.student == "fp32" else 2

    def checkpoints(self, device: float) -> bool:
        """Return whether training computes activations again on a device of so many bytes, as the
        profile says or, where it does not, as the trainer decides (components/train/trainer.py)."""
        if self.profile.train.checkpoint_activations is not None:
            return self.profile.train.checkpoint_activations
        memory = self.training()
        free = device - _RUNTIME - memory.weights - memory.adapter
        return asks_for_checkpoints(self._activations(checkpointed=False), free)

    def generation(self, loads: Sequence[Workload]) -> Memory:
        """Return the memory of the fullest batch of the evaluation: weights and key-value cache,
        with every completion at its limit."""
        batch = self.profile.evaluate.batch
        full = [(one.longest, min(batch, one.completions)) for one in loads]
        return self._writing(self.shape, full)

    def judging(self, loads: Sequence[Workload]) -> Memory | None:
        """Return the memory of the guard that needs most, which is loaded when no model is; None
        where no suite has a guard."""
        asked = ((self.profile.evaluate.judges.get(one.judge), one) for one in loads)
        needs = [
            self._writing(GUARDS[judge.kind], [(case_tokens(judge, one), judge.batch)])
            for judge, one in asked
            if isinstance(judge, GuardSettings)
        ]
        return max(needs, key=lambda memory: memory.total, default=None)

    def _writing(self, shape: Shape, batches: Sequence[tuple[int, int]]) -> Memory:
        """Return the memory of a model and the fullest key-value cache of its batches, each of so
        many tokens a row and so many rows, as far as the engine fills it."""
        token = 2 * shape.layers * _widths(shape)[3] * max(_BYTES[self.precision], 2)
        positions = [max(longest, min(longest * rows, CACHED_TOKENS)) for longest, rows in batches]
        return Memory(weight_bytes(shape, self.precision), 0, max(positions, default=0) * token)

    def building(self) -> Memory | None:
        """Return the memory of full fine-tuning, in single precision, where the profile makes its
        pair; None where not."""
        models, shape = self.profile.models, self.shape
        if not isinstance(models, PostTrain):
            return None
        phases = [phase for phase in (models.align, models.post_train) if phase]
        tokens = max(phase.micro_batch * phase.max_tokens for phase in phases)
        block = sum(map(mul, _SAVED_WITHOUT_LORA, _widths(shape)))
        saved = shape.layers * block + _LOGITS_BYTES * shape.vocabulary
        weights = weight_bytes(shape, "fp32")
        return Memory(weights, 3 * weights, tokens * saved)

    def disk(self) -> float:
        """Return the bytes that the stages write: masks (a bit a weight), two adapters, states.

        Twice, since DVC keeps a copy in its cache; built pairs count as two checkpoints in fp32.
        """
        profile, shape, train = self.profile, self.shape, self.profile.train
        depth, layers = depth_of(profile, shape), profile.probe.target_layers
        masks = shape.layers * block_parameters(shape) / 8
        adapters = 2 * 4 * adapter_parameters(shape, rank=train.lora.r, depth=depth)
        targets = profile.probe.target_count if layers == "auto" else len(layers)
        drawn = (train.harmful_prompts, train.retain_prompts)
        harmful, kept = (len(train.forms) * count for count in drawn)
        positions = harmful * (train.prompt_tokens + train.refusal_tokens)
        retained = kept * (prompt_tokens(profile) + train.retain_tokens)
        held = 0 if train.method in BY_TOKENS else retained * depth * shape.hidden * 4
        predicted = harmful * train.refusal_tokens + kept * train.retain_tokens
        states = positions * targets * shape.hidden * 4 + min(held, _REFERENCE_DISK)
        states += predicted * train.likeliest * _LIKELY_BYTES
        pair = 2 * weight_bytes(shape, "fp32") if profile.models.kind != "checkpoints" else 0
        return 2 * (masks + adapters + pair) + states
