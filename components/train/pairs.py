"""Trainings on a harmful and a retained row at a time: their steps, and what is held in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from components.lm.states import hidden_states
from components.train.batches import Item, Side, draw_order, plan_steps
from components.train.losses import mean_distance
from components.train.trainer import AdapterTrainer


def draw_pairs(
    harmful: Side, retain: Side, *, steps: int, batch: int, seed: int
) -> list[list[Item]]:
    """Return the items of every step, `batch` rows of each side, each side in its own order."""
    generator = np.random.default_rng(seed)
    orders = [
        draw_order(len(side.rows), steps=steps, batch=batch, generator=generator)
        for side in (harmful, retain)
    ]
    pairs = [list(zip(*pair, strict=True)) for pair in zip(*orders, strict=True)]
    return plan_steps(pairs, (harmful, retain))


class PairTrainer(AdapterTrainer):
    """Changes the states of harmful rows at `layers`, and holds those of the retained ones.

    The student runs up to the deepest of the layers and never through the LM head; the retained
    states are held at layers 1 to that one.
    """

    def __init__(
        self, *arguments: Any, layers: Sequence[int], strength: float, **named: Any
    ) -> None:
        super().__init__(*arguments, **named)
        self.target_layers = list(layers)
        self.retained_layers = list(range(1, max(layers) + 1))
        self.strength = strength

    def distance(self, model: nn.Module, side: dict[str, Any], layers: list[int]) -> Tensor:
        """Return the micro-batch's part of the step's mean distance from the side's targets.

        Where they are not stored, they are the student's own states without its adapter.
        """
        targets = side["targets"] if "targets" in side else self._reference(model, side, layers)
        states = hidden_states(self.adapted, side["ids"], layers, wrapped=model)
        return mean_distance(states, targets, side["mask"], positions=side["positions"])

    def _reference(self, model: nn.Module, side: dict[str, Any], layers: list[int]) -> Tensor:
        """Return the states of the post-trained model: (real position, layer, hidden)."""
        with torch.no_grad(), self.adapted.disable_adapter():
            states = hidden_states(self.adapted, side["ids"], layers, wrapped=model)
        return torch.stack([layer[side["mask"]] for layer in states], dim=1)
