"""Stopping early: once validation prompts are refused again and the rest is still in place."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback

from components.lm.batches import by_tokens
from components.lm.states import hidden_states
from components.train.rows import own_completions, refuses
from components.train.teacher import Reader

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import (
        PreTrainedTokenizerBase,
        TrainerControl,
        TrainerState,
        TrainingArguments,
    )

    from components.train.batches import Side
    from components.train.checkpoints import Progress
    from components.train.rows import Reading

log = logging.getLogger(__name__)

_TOKENS = 2048  # a forward pass, padding included
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Criterion:
    """When a training has done enough, and the validation prompts that tell."""

    every: int  # optimiser steps between two looks
    harmful_refused: float  # at least this share, in every prompt form
    retention: float  # at most this relative distance
    tokenizer: PreTrainedTokenizerBase
    harmful: Reading
    retain: Side
    depth: int  # layers that are compared
    tokens: int  # of a completion, at most
    patterns: Sequence[str]
    compliance_pattern: str | None

    def measure(self, adapted: PeftModel) -> dict[str, float]:
        """Return the lowest share of harmful prompts refused in any form, greedily, and the
        relative retention distance."""
        student = Reader(cast(Any, adapted), self.tokenizer)
        shares = []
        for form, prompts in self.harmful.items():
            rows = own_completions(
                student, prompts, max_new_tokens=self.tokens, label=f"validation, {form}"
            )
            refused = [
                refuses(
                    student,
                    row,
                    patterns=self.patterns,
                    compliance_pattern=self.compliance_pattern,
                )
                for row in rows
            ]
            shares.append(sum(refused) / len(refused))
        return {
            "validation_harmful_refused": round(min(shares), _DIGITS),
            "validation_retention": round(
                relative_distance(adapted, self.retain, range(1, self.depth + 1)), _DIGITS
            ),
        }

    def is_met(self, figures: dict[str, float]) -> bool:
        """Return whether both figures are good enough."""
        return (
            figures["validation_harmful_refused"] >= self.harmful_refused
            and figures["validation_retention"] <= self.retention
        )


@torch.no_grad()
def relative_distance(adapted: PeftModel, side: Side, layers: Sequence[int]) -> float:
    """Return the mean over layers l and positions t of ||h_l,t - r_l,t||_2 / ||r_l,t||_2.

    h are the states of the model with its adapter, r those without.
    """
    total, count = 0.0, 0
    device = next(adapted.parameters()).device
    for rows in by_tokens([row.inputs for row in side.rows], _TOKENS):
        batch = {name: tensor.to(device) for name, tensor in side.batch(rows).items()}
        moved = _at(adapted, batch, layers)
        if "targets" in batch:
            reference = batch["targets"].float()
        else:
            with adapted.disable_adapter():
                reference = _at(adapted, batch, layers)
        distances = (moved - reference).norm(dim=-1) / reference.norm(dim=-1)
        total += distances.double().sum().item()
        count += distances.numel()
    return total / count


def _at(model: PeftModel, batch: dict[str, torch.Tensor], layers: Sequence[int]) -> torch.Tensor:
    """Return the states at the real positions: (real position, layer, hidden), fp32."""
    states = hidden_states(model, batch["ids"], layers)
    return torch.stack([layer[batch["mask"]] for layer in states], dim=1).float()


class EarlyStop(TrainerCallback):
    """Measures every so many steps, keeps the figures with the step's, and stops when they do."""

    def __init__(self, criterion: Criterion, adapted: PeftModel, progress: Progress) -> None:
        self.criterion, self.adapted, self.progress = criterion, adapted, progress

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002 - the form that Trainer calls
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,
        **given: Any,  # noqa: ARG002
    ) -> TrainerControl:
        """Stop the training where the criterion is met, and say why in its progress."""
        taken = self.progress.taken
        if taken % self.criterion.every:
            return control
        self.adapted.eval()  # the next step turns training mode on again
        # All processes must decide alike, so they go by what the first one measured.
        figures = broadcast_object_list([self.criterion.measure(self.adapted)])[0]
        self.progress.curves[-1] |= figures
        told = (
            f"{figures['validation_harmful_refused']:.1%} of the harmful validation prompts "
            f"refused, relative retention distance {figures['validation_retention']:.4f}"
        )
        log.info("validation after step %d: %s", taken, told)
        if self.criterion.is_met(figures):
            self.progress.stopped = f"early, after step {taken}: {told}"
            control.should_training_stop = True
        return control
