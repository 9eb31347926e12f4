"""Stopping early: once validation prompts are refused again and the rest is still in place."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from accelerate.utils import broadcast_object_list
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from components.judges.settings import RulesSettings
from components.lm.batches import by_tokens
from components.train.answers import own_completions
from components.train.batches import PASS_TOKENS, TargetRows
from components.train.checkpoints import Progress
from components.train.rows import Reading, refuses
from components.train.settings import EarlyStopSettings
from components.train.student import Student
from components.train.teacher import Reader

log = logging.getLogger(__name__)

_DIGITS = 6


@dataclass(frozen=True, slots=True)
class EarlyStop:
    """When a training has done enough, and the validation prompts that show it."""

    settings: EarlyStopSettings
    rules: RulesSettings
    tokenizer: PreTrainedTokenizerBase
    harmful: Reading
    retained: TargetRows
    layers: Sequence[int]  # that are compared

    def after_step(self, adapted: PeftModel, progress: Progress) -> str | None:
        """Measure where a look is due and keep the figures with the step's.

        Returns why the training may stop, or None. All processes decide alike: they go by what the
        first one measured.
        """
        if progress.taken % self.settings.every:
            return None
        adapted.eval()  # the next step turns training mode on again
        figures = broadcast_object_list([self.measure(adapted)])[0]
        progress.curves[-1] |= figures
        refused, moved = figures["validation_harmful_refused"], figures["validation_retention"]
        found = (
            f"{refused:.1%} of the harmful validation prompts refused, relative retention distance "
            f"{moved:.4f}"
        )
        log.info("validation after step %d: %s", progress.taken, found)
        enough = refused >= self.settings.harmful_refused and moved <= self.settings.retention
        return found if enough else None

    def measure(self, adapted: PeftModel) -> dict[str, float]:
        """Return the lowest share of harmful prompts refused in any form, greedily, and the
        relative retention distance."""
        reader = Reader(cast(Any, adapted), self.tokenizer)
        shares = []
        for form, prompts in self.harmful.items():
            label = f"validation, {form}"
            rows = own_completions(
                reader, prompts, max_new_tokens=self.settings.tokens, label=label
            )
            shares.append(sum(refuses(reader, row, self.rules) for row in rows) / len(rows))
        distance = relative_distance(adapted, self.retained, self.layers)
        return {
            "validation_harmful_refused": round(min(shares), _DIGITS),
            "validation_retention": round(distance, _DIGITS),
        }


@torch.no_grad()
def relative_distance(adapted: PeftModel, rows: TargetRows, layers: Sequence[int]) -> float:
    """Return the mean over layers l and positions t of ||h_l,t - r_l,t||_2 / ||r_l,t||_2.

    h are the states of the model with its adapter, r those without.
    """
    total, count = 0.0, 0
    student, device = Student(adapted), next(adapted.parameters()).device
    for indices in by_tokens([row.inputs for row in rows.rows], PASS_TOKENS):
        batch = rows.batch(indices, step=indices).to(device)
        states = student.states(batch, layers)
        moved = torch.stack([layer[batch.mask] for layer in states], dim=1).float()
        reference = student.targets(batch, layers).float()
        distances = (moved - reference).norm(dim=-1) / reference.norm(dim=-1)
        total += distances.double().sum().item()
        count += distances.numel()
    return total / count
