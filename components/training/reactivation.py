"""SafeReAct itself: the adapter's training towards stored hidden states."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from components.lm.states import hidden_states
from components.training.batches import PairCollator, Side, draw_order, plan_steps
from components.training.checkpoints import Curves, Progress
from components.training.early_stop import Criterion, EarlyStop
from components.training.losses import mean_distance, reactivation_loss, retention_weight
from components.training.trainer import CHECKPOINT_EVERY, AdapterTrainer

if TYPE_CHECKING:
    from peft import PeftModel


def reactivate(
    adapted: PeftModel,
    harmful: Side,
    retain: Side,
    *,
    layers: Sequence[int],
    steps: int,
    batch: int,
    lr: float,
    strength: float,
    schedule: float,
    seed: int,
    scratch: Path,
    micro_batch: int | None = None,
    checkpoint_every: int = CHECKPOINT_EVERY,
    criterion: Criterion | None = None,
) -> Progress:
    """Train the adapter in place, on `batch` rows of each side a step; return the losses by step.

    `strength` is a and `schedule` the factor of the steps in the loss (see losses.py). With a
    `criterion` the training ends as soon as it is met.
    """
    generator = np.random.default_rng(seed)
    orders = [
        draw_order(len(side.rows), steps=steps, batch=batch, generator=generator)
        for side in (harmful, retain)
    ]
    pairs = [list(zip(*pair, strict=True)) for pair in zip(*orders, strict=True)]
    trainer = ReactivationTrainer(
        adapted,
        plan_steps(pairs, (harmful, retain)),
        PairCollator(harmful, retain),
        lr=lr,
        seed=seed,
        scratch=scratch,
        micro_batch=micro_batch,
        checkpoint_every=checkpoint_every,
        layers=layers,
        strength=strength,
        schedule=schedule,
    )
    if criterion is not None:
        trainer.add_callback(EarlyStop(criterion, adapted, trainer.progress))
    return trainer.finish()


def first_and_last(curves: Curves, name: str) -> tuple[float, float]:
    """Return the mean of a loss over the first and over the last tenth of the steps."""
    tenth = -(-len(curves) // 10)
    values = [line[name] for line in curves]
    return round(fmean(values[:tenth]), 6), round(fmean(values[-tenth:]), 6)


class ReactivationTrainer(AdapterTrainer):
    """SafeReAct (arXiv 2604.00012): towards the teacher on harmful rows, in place on the others.

    The student runs up to the deepest target layer and never through the LM head. Deviation from
    the paper: retention is measured at layers 1 to the deepest target, which are all layers only
    where the last one is a target; the layers above have no adapter.
    """

    label = "reactivating"

    def __init__(
        self, *arguments: Any, layers: Sequence[int], strength: float, schedule: float, **named: Any
    ) -> None:
        super().__init__(*arguments, **named)
        self.target_layers = list(layers)
        self.retained_layers = list(range(1, max(layers) + 1))
        self.strength, self.schedule = strength, schedule

    def weights(self) -> dict[str, float]:
        """Return c, the weight of the retention."""
        return {"c": retention_weight(self.step, steps=self.steps, schedule=self.schedule)}

    def losses(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return this micro-batch's part of L and of its parts, alignment and retention."""
        alignment = self._distance(model, inputs["harmful"], self.target_layers)
        retention = self._distance(model, inputs["retain"], self.retained_layers)
        loss = reactivation_loss(
            alignment, retention, weight=self.weights()["c"], strength=self.strength
        )
        return loss, {"alignment": alignment, "retention": retention}

    def _distance(self, model: nn.Module, side: dict[str, Any], layers: list[int]) -> Tensor:
        targets = side["targets"] if "targets" in side else self._reference(model, side, layers)
        states = hidden_states(self.adapted, side["ids"], layers, wrapped=model)
        return mean_distance(states, targets, side["mask"], positions=side["positions"])

    def _reference(self, model: nn.Module, side: dict[str, Any], layers: list[int]) -> Tensor:
        """Return the states of the post-trained model: (real position, layer, hidden)."""
        with torch.no_grad(), self.adapted.disable_adapter():
            states = hidden_states(self.adapted, side["ids"], layers, wrapped=model)
        return torch.stack([layer[side["mask"]] for layer in states], dim=1)
