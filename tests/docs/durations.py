"""How long training, evaluation and judging take on a GPU: estimates from the profile alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from components.core.vocabulary import OWN_ARMS
from components.judges.settings import GuardSettings, RubricSettings
from components.lm.engines.protocol import CACHED_TOKENS
from components.models.settings import Shape
from components.profile import Profile
from flows.doctor.estimate import (
    GB,
    GUARDS,
    PROMPT_TOKENS,
    Workload,
    block_parameters,
    case_tokens,
    depth_of,
    parameters,
    prompt_tokens,
    weight_bytes,
)

# Teacher's and student's answers for training are written in batches of this size.
_ANSWER_BATCH = 64
# Shares of a GPU's peak that ordinary PyTorch code reaches, and the least time a block takes for a
# token when Python launches its kernels one by one.
_COMPUTE_SHARE, _BANDWIDTH_SHARE, _BLOCK_SECONDS = 0.35, 0.6, 1e-3
_VERDICT_TOKENS = 24  # that a guard writes about a case; WildGuard's are the longest
_CASES = 2  # of a completion: its thought and its answer


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


def arms_of(profile: Profile) -> int:
    """Return how many models are asked."""
    return len(OWN_ARMS) + profile.evaluate.champion


def rows_at_once(longest: int, batch: int) -> int:
    """Return how many sequences the engine in memory writes at once where all have `longest`
    tokens; one that is too long for it is written alone."""
    return max(1, min(batch, CACHED_TOKENS // longest))


def training_seconds(
    profile: Profile, shape: Shape, gpu: Gpu, *, checkpointed: bool = False
) -> float:
    """Return the seconds of training on `gpu`: answers written once, the steps, and those of the
    LoRA-SFT baseline.

    A token costs 2 operations a weight forward and 2 backward (the model's own weights get no
    gradient), 2 more for the reference of a retained one, which may be stored instead, and 2 more
    where activations are computed again; down to the deepest target, for the baseline through the
    whole model.
    """
    step = 6 if checkpointed else 4
    train, depth = profile.train, depth_of(profile, shape)
    prompt = prompt_tokens(profile)
    harmful, retained = prompt + train.refusal_tokens, prompt + train.retain_tokens
    pairs = train.steps * train.batch * (step * harmful + (step + 2) * retained)
    share = train.baseline_retain
    mixed = train.baseline_steps * train.batch * ((1 - share) * harmful + share * retained)
    operations = depth * block_parameters(shape) * pairs + step * parameters(shape) * mixed
    steps = operations / (gpu.flops * _COMPUTE_SHARE)
    written = [
        (train.harmful_prompts, max(train.refusal_tokens, profile.probe.check_tokens)),
        (train.retain_prompts, train.retain_tokens),
    ]
    answers = sum(-(-prompts // _ANSWER_BATCH) * length for prompts, length in written)
    return steps + answers * token_seconds(shape, gpu, batch=_ANSWER_BATCH, length=PROMPT_TOKENS)


def evaluation_seconds(
    profile: Profile, loads: Sequence[Workload], shape: Shape, gpu: Gpu
) -> float:
    """Return the seconds in which all arms write on `gpu`, if every completion ran to its limit.

    As many are written at once as `evaluate.batch` and the engine's cache allow at that length.
    """
    seconds = 0.0
    for one in loads:
        rows = rows_at_once(one.longest, profile.evaluate.batch)
        length = one.prompt + one.tokens // 2
        step = token_seconds(shape, gpu, batch=rows, length=length)
        seconds += -(-one.completions // rows) * one.tokens * step
    return arms_of(profile) * seconds


def judging_seconds(profile: Profile, loads: Sequence[Workload], gpu: Gpu) -> float:
    """Return the seconds in which the judges read all arms' completions, each to its limit, thought
    and answer each by itself.

    A guard on `gpu` reads at 2 operations a weight and token; a rubric's server is asked as often a
    minute as the profile allows; rules take no time.
    """
    seconds = 0.0
    for one in loads:
        judge = profile.evaluate.judges.get(one.judge)
        cases = arms_of(profile) * one.completions * _CASES
        if isinstance(judge, RubricSettings):
            seconds += cases * 60 / judge.requests_a_minute
        elif isinstance(judge, GuardSettings):
            seconds += cases * _guard_seconds(judge, one, gpu)
    return seconds


def _guard_seconds(judge: GuardSettings, load: Workload, gpu: Gpu) -> float:
    """Return the seconds that a guard takes for a case on average."""
    # Thought and answer share the completion's tokens.
    length = case_tokens(judge, load, share=1 / _CASES)
    shape, rows = GUARDS[judge.kind], rows_at_once(length, judge.batch)
    reading = 2 * parameters(shape) * length / (gpu.flops * _COMPUTE_SHARE)
    writing = _VERDICT_TOKENS * token_seconds(shape, gpu, batch=rows, length=length) / rows
    return reading + writing


def token_seconds(shape: Shape, gpu: Gpu, *, batch: int, length: int) -> float:
    """Return the seconds in which a batch gets one token more.

    Weights and key-value cache are read once; it cannot be quicker than the launch of its kernels.
    """
    cache = batch * length * 2 * shape.layers * shape.kv_heads * shape.head_width * 2
    reading = (weight_bytes(shape, "bf16") + cache) / (gpu.bandwidth * _BANDWIDTH_SHARE)
    return max(reading, shape.layers * _BLOCK_SECONDS)
