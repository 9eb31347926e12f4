"""Circuit breakers, a method to compare with: harmful states are rerouted, not taught a refusal.

Source: Zou et al. 2024 (arXiv 2406.04313), section 3, "representation rerouting".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from components.train.batches import Batch, Plan, paired
from components.train.methods.method import METHODS, Method
from components.train.methods.safereact import distance
from components.train.settings import CircuitBreaker, TrainSettings
from components.train.student import Loss, Student

if TYPE_CHECKING:
    from components.train.data import TrainingData


@METHODS.register("circuit-breaker")
class CircuitBreakers(Method[CircuitBreaker]):
    """Turns the states of the model's own harmful answers away, and holds all others."""

    has_teacher = False

    @classmethod
    def settings_of(cls, train: TrainSettings) -> CircuitBreaker:
        """Return the rate, steps and strength of `train`."""
        return CircuitBreaker(lr=train.lr, steps=train.steps, strength=train.strength)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that are rerouted."""
        chosen = self.settings.layers
        return rerouting_layers(self.depth) if chosen == "auto" else chosen

    @property
    def adapted_layers(self) -> Sequence[int]:
        """Layers 1 to the deepest that is rerouted."""
        return range(1, max(self.layers) + 1)

    @property
    def held_depth(self) -> int:
        """The deepest layer that is rerouted or a target."""
        return max(*self.layers, *self.target_layers)

    def plan(self, data: TrainingData) -> Plan:
        """Return steps of `train.batch` rows of each group; SafeReAct holds the same ones."""
        groups = {
            "harmful": data.compliant_rows(self.settings.tokens, self.layers),
            "retained": data.retained_rows(self.held_depth),
        }
        batch, steps = data.settings.batch, self.settings.steps
        return paired(groups, steps=steps, batch=batch, seed=data.seed)

    def loss(self, student: Student, batch: Mapping[str, Batch], step: int) -> Loss:
        """Return a (1 - t) * cosine + a t * retention, with a = `strength`, t = step / 2 steps."""
        harmful, layers = batch["harmful"], self.layers
        a, t = self.settings.strength, step / (2 * self.settings.steps)
        states, targets = student.states(harmful, layers), student.targets(harmful, layers)
        cosine = mean_positive_cosine(states, targets, harmful.mask, positions=harmful.positions)
        retention = distance(student, batch["retained"], self.adapted_layers)
        total = a * (1 - t) * cosine + a * t * retention
        return Loss(total, {"cosine": cosine, "retention": retention})


def rerouting_layers(layers: int) -> tuple[int, ...]:
    """Return the layers at a third and two thirds of the depth; the paper has 10 and 20 of 32."""
    return tuple(sorted({max(1, layers * third // 3) for third in (1, 2)}))


def mean_positive_cosine(
    states: Sequence[Tensor], targets: Tensor, mask: Tensor, *, positions: int
) -> Tensor:
    """Return the sum over layers and counted positions of max(0, cos(states, targets)), divided by
    the layers and by `positions`.

    Shapes as in `mean_distance`. 0: every state is at right angles or beyond; 1: unmoved.
    """
    cosines = [
        cosine_similarity(layer[mask].float(), targets[:, i].float(), dim=-1).clamp(min=0).sum()
        for i, layer in enumerate(states)
    ]
    return torch.stack(cosines).mean() / positions
