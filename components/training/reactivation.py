"""SafeReAct itself: the adapter's training towards stored hidden states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from components.lm.states import backbone, captured_states
from components.training.batches import PairCollator, Side, draw_order
from components.training.losses import mean_distance, reactivation_loss, retention_weight
from components.training.targets import run_decoder
from components.training.trainer import AdapterTrainer, Curves

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
) -> Curves:
    """Train the adapter in place, on `batch` rows of each side a step; return the losses by step.

    `strength` is a and `schedule` the factor of the steps in the loss (see losses.py).
    """
    generator = np.random.default_rng(seed)
    orders = [
        draw_order(len(side.rows), steps=steps, batch=batch, generator=generator)
        for side in (harmful, retain)
    ]
    trainer = ReactivationTrainer(
        adapted,
        [list(zip(*pair, strict=True)) for pair in zip(*orders, strict=True)],
        PairCollator(harmful, retain),
        lr=lr,
        seed=seed,
        scratch=scratch,
        layers=layers,
        strength=strength,
        schedule=schedule,
    )
    trainer.train()
    adapted.eval()
    return trainer.curves


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

    def losses(self, inputs: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        """Return L and its parts: alignment, retention and the weight c."""
        weight = retention_weight(
            self.state.global_step, steps=self.state.max_steps, schedule=self.schedule
        )
        alignment = self._distance(inputs["harmful"], self.target_layers)
        retention = self._distance(inputs["retain"], self.retained_layers)
        loss = reactivation_loss(alignment, retention, weight=weight, strength=self.strength)
        return loss, {
            "alignment": alignment.item(),
            "retention": retention.item(),
            "c": weight,
        }

    def _distance(self, side: dict[str, Tensor], layers: list[int]) -> Tensor:
        targets = side["targets"] if "targets" in side else self._reference(side, layers)
        return mean_distance(self._states(side["ids"], layers), targets, side["mask"])

    def _reference(self, side: dict[str, Tensor], layers: list[int]) -> Tensor:
        """Return the states of the post-trained model: (real position, layer, hidden)."""
        with torch.no_grad(), self.adapted.disable_adapter():
            states = self._states(side["ids"], layers)
        return torch.stack([layer[side["mask"]] for layer in states], dim=1)

    def _states(self, ids: Tensor, layers: list[int]) -> list[Tensor]:
        with captured_states(self.adapted, layers) as states, shortened(self.adapted, max(layers)):
            run_decoder(self.adapted, ids)
            return [states[layer] for layer in layers]


@contextmanager
def shortened(model: nn.Module, depth: int) -> Iterator[None]:
    """Leave only the first `depth` decoder layers of `model` within the block."""
    decoder = backbone(model)
    layers = decoder.layers
    decoder.layers = layers[:depth]
    try:
        yield
    finally:
        decoder.layers = layers
