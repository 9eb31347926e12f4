"""Full fine-tuning of a causal language model on the tokens of its responses."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from components.core.errors import TrainingError
from components.core.vocabulary import Role
from components.lm.loading import default_precision

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

_LOG_LINES = 10  # progress lines a phase
_MAX_NORM = 1.0
_WARMUP = 0.1  # share of the steps over which the rate rises linearly


@dataclass(frozen=True, slots=True)
class Example:
    """One token sequence; the loss is taken on the tokens whose flag is set."""

    input_ids: tuple[int, ...]
    is_response: tuple[bool, ...]

    @classmethod
    def of(cls, prompt: Sequence[int], completion: Sequence[int]) -> Self:
        """Return the completion behind its prompt; the loss is taken on the completion."""
        flags = (False,) * len(prompt) + (True,) * len(completion)
        return cls((*prompt, *completion), flags)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a phase of learning goes."""

    steps: int
    batch: int  # sequences an optimiser step
    lr: float
    micro_batch: int | None = None  # sequences a forward pass; None: the whole batch
    max_tokens: int | None = None  # longer sequences are cut at the end; None: never
    decay: bool = False  # whether the rate then falls linearly towards zero


def draw_examples(
    pools: Mapping[Role, Sequence[Example]],
    counts: Mapping[Role, int],
    generator: np.random.Generator,
) -> list[Example]:
    """Return `counts` examples of each role, each of a pool as often as any other, give or take
    one."""
    examples: list[Example] = []
    for role, count in counts.items():
        pool = pools[role]
        passes = -(-count // len(pool)) if count else 0
        order = [int(i) for _ in range(passes) for i in generator.permutation(len(pool))]
        examples += [pool[i] for i in order[:count]]
    return examples


def learn(
    model: PreTrainedModel,
    examples: Sequence[Example],
    plan: Plan,
    *,
    generator: np.random.Generator,
    phase: str,
) -> list[float]:
    """Fine-tune all weights of `model` in place; return the loss of every step.

    Passes over `examples` in random order until `plan.steps` are done, by AdamW with linear
    warm-up. A step's loss is the mean over the response tokens of its whole batch, so it does not
    depend on `micro_batch`. `phase` names the work in the log.
    Raises `TrainingError` where no example has a response token or a loss is not finite.
    """
    usable = _usable(examples, plan, phase)
    weights = model.parameters()
    optimizer = torch.optim.AdamW(weights, lr=plan.lr, weight_decay=0.0, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, plan))
    losses = []
    model.train()
    try:
        for step, batch in enumerate(_batches(usable, plan, generator), start=1):
            optimizer.zero_grad()
            loss = _accumulate(model, batch, plan)
            if not np.isfinite(loss):
                raise TrainingError(
                    f"{phase}: the loss of step {step} of {plan.steps} is {loss}; "
                    f"lower the learning rate, which is {plan.lr:g}"
                )
            torch.nn.utils.clip_grad_norm_(model.parameters(), _MAX_NORM)
            optimizer.step()
            schedule.step()
            losses.append(loss)
            if step % max(1, plan.steps // _LOG_LINES) == 0 or step == plan.steps:
                log.info("%s step %d/%d loss %.3f", phase, step, plan.steps, loss)
    finally:
        model.eval()
    return losses


def response_loss(
    model: PreTrainedModel, input_ids: torch.Tensor, is_response: torch.Tensor
) -> torch.Tensor:
    """Return the summed cross-entropy, in nats, of the response tokens given all before them.

    `input_ids` and `is_response` are (batch, position), padded on the right where `is_response`
    is false: no token sees the padding behind it, so no attention mask is needed. A first token
    is never predicted. Logits are made for the response tokens only.
    """
    hidden = model.base_model(input_ids=input_ids, use_cache=False).last_hidden_state
    wanted = is_response[:, 1:]
    logits = model.get_output_embeddings()(hidden[:, :-1][wanted])  # (token, vocabulary)
    return torch.nn.functional.cross_entropy(
        logits.float(), input_ids[:, 1:][wanted], reduction="sum"
    )


def rate_factor(step: int, plan: Plan) -> float:
    """Return the share of `plan.lr` that step `step`, counted from 0, is taken with."""
    warmup = max(1, round(_WARMUP * plan.steps))
    rise = min(1.0, (step + 1) / warmup)
    if not plan.decay or step < warmup:
        return rise
    return max(0.0, (plan.steps - step) / (plan.steps - warmup + 1))


def _usable(examples: Sequence[Example], plan: Plan, phase: str) -> list[Example]:
    """Return the examples, cut to `plan.max_tokens`, that still have a response to learn."""
    cut = slice(plan.max_tokens)
    shortened = [Example(item.input_ids[cut], item.is_response[cut]) for item in examples]
    usable = [item for item in shortened if any(item.is_response[1:])]
    if not usable:
        raise TrainingError(
            f"{phase}: none of {len(examples)} examples has a response token within "
            f"{plan.max_tokens or 'all'} tokens; give examples or raise the limit"
        )
    if len(usable) < len(examples):
        log.warning(
            "%s: %d of %d examples lost their response to the limit of %s tokens",
            phase, len(examples) - len(usable), len(examples), plan.max_tokens,
        )  # fmt: skip
    return usable


def _batches(
    examples: list[Example], plan: Plan, generator: np.random.Generator
) -> Iterator[list[Example]]:
    """Yield `plan.steps` batches from passes over the examples, each in random order."""
    order: list[int] = []
    for _ in range(plan.steps):
        while len(order) < plan.batch:
            order += generator.permutation(len(examples)).tolist()
        batch, order = order[: plan.batch], order[plan.batch :]
        yield [examples[index] for index in batch]


def _accumulate(model: PreTrainedModel, batch: list[Example], plan: Plan) -> float:
    """Add the gradient of the batch's mean response loss to the weights; return that loss.

    Sequences of like length share a forward pass, which spares padding.
    """
    batch = sorted(batch, key=lambda item: len(item.input_ids))
    total = sum(sum(item.is_response[1:]) for item in batch)
    size = plan.micro_batch or plan.batch
    parts = [batch[start : start + size] for start in range(0, len(batch), size)]

    def loss_of(part: list[Example]) -> torch.Tensor:
        # Weights stay as they are; products are in bfloat16 where `SAFEREACT_PRECISION` asks for it
        halved = default_precision(model.device) == torch.bfloat16
        tensors = (tensor.to(model.device) for tensor in pad_right(part))
        with torch.autocast(model.device.type, torch.bfloat16, enabled=halved):
            return response_loss(model, *tensors) / total

    losses = []
    for part in parts:
        loss = loss_of(part)
        loss.backward()
        losses.append(loss.item())
    return sum(losses)


def pad_right(examples: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and response flags, each (batch, position); padding is id 0 without a flag."""
    input_ids = [torch.tensor(item.input_ids) for item in examples]
    is_response = [torch.tensor(item.is_response) for item in examples]
    return pad_sequence(input_ids, batch_first=True), pad_sequence(is_response, batch_first=True)


def save_checkpoint(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    """Write an ordinary checkpoint, which `AutoModelForCausalLM` and `AutoTokenizer` load."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
