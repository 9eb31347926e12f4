"""Distillation: towards the teacher's next tokens on its own refusals, in place elsewhere.

    L = KL(teacher || student) on the teacher's refusals
        + w KL(post-trained || student) on the post-trained model's own answers

as means over the tokens of the completions, with w = `train.retain_weight`. Only the likeliest
tokens are stored of a distribution (divergence.py), so the teacher is freed before the student is
loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from components.train.batches import Batch, Plan, paired
from components.train.divergence import divergence
from components.train.methods.method import METHODS, Method
from components.train.methods.safereact import SafeReAct, mean_distance
from components.train.settings import TrainSettings
from components.train.student import Loss, Student, written_entropy

if TYPE_CHECKING:
    from components.train.data import TrainingData


@METHODS.register("distil")
class Distil(Method[TrainSettings]):
    """Towards the teacher's next tokens on harmful rows, in place on the retained ones."""

    stops_early, held_by = True, "retain_weight"
    reverse: ClassVar[bool] = False  # KL(student || teacher) on harmful rows

    def plan(self, data: TrainingData) -> Plan:
        """Return steps of `train.batch` harmful and as many retained rows."""
        groups = {
            "harmful": data.teacher_data().rows,
            "retained": data.retained_rows(self.held_depth),
        }
        batch, steps = data.settings.batch, self.settings.steps
        return paired(groups, steps=steps, batch=batch, seed=data.seed)

    def loss(self, student: Student, batch: Mapping[str, Batch], step: int) -> Loss:  # noqa: ARG002
        """Return the loss above, in nats a token."""
        harmful, retained = batch["harmful"], batch["retained"]
        taught = mean_divergence(student.logits(harmful), harmful, reverse=self.reverse)
        held = mean_divergence(student.logits(retained), retained)
        total = taught + self.settings.retain_weight * held
        return Loss(total, {"distillation": taught, "retention": held})


def mean_divergence(logits: Tensor, batch: Batch, *, reverse: bool = False) -> Tensor:
    """Return KL(stored || student) in nats, the mean over the tokens of the step's completions;
    `reverse`: the other way."""
    assert batch.likely is not None, "the rows have been stored with their likeliest tokens"
    return divergence(logits, batch.likely, reverse=reverse) / batch.predicted


@METHODS.register("combined")
class Combined(SafeReAct):
    """SafeReAct's distance of hidden states on harmful rows, beside the divergences of `distil`."""

    held_by = "retain_weight"
    held_depth = 0

    def loss(self, student: Student, batch: Mapping[str, Batch], step: int) -> Loss:  # noqa: ARG002
        """Return a D_T(h, g) + KL(teacher || student) + w KL(post-trained || student)."""
        harmful, retained, settings = batch["harmful"], batch["retained"], self.settings
        states, logits = student.states_and_logits(harmful, self.target_layers)
        targets = student.targets(harmful, self.target_layers)
        alignment = mean_distance(states, targets, harmful.mask, positions=harmful.positions)
        taught = mean_divergence(logits, harmful)
        held = mean_divergence(student.logits(retained), retained)
        total = settings.strength * alignment + taught + settings.retain_weight * held
        figures = {"alignment": alignment, "distillation": taught, "retention": held}
        return Loss(total, figures)


@METHODS.register("on-policy")
class OnPolicy(Distil):
    """Towards the teacher's next tokens on what the student itself writes, sampled anew a round.

    L = KL(student || teacher) on the student's own samples, beside the retention of `distil`.
    """

    stops_early = False
    reverse = True

    @property
    def rounds(self) -> int:
        """Four, or as many as there are steps."""
        return min(4, self.settings.steps)

    def plan_round(self, data: TrainingData, number: int, adapter: Path | None) -> Plan:
        """Return the steps of a round, with samples of the student with its adapter so far."""
        every, more = divmod(self.settings.steps, self.rounds)
        steps, batch = every + (number < more), data.settings.batch
        groups = {
            "harmful": data.sampled_rows(steps * batch, number, adapter),
            "retained": data.retained_rows(self.held_depth),
        }
        return paired(groups, steps=steps, batch=batch, seed=data.seed + number)


@METHODS.register("self-generated")
class SelfGenerated(Distil):
    """Cross-entropy on the refusals that the model itself writes once it is reminded.

    Retention as in `distil`. After ThinkSafe.
    """

    learns_from = "reminder"

    def loss(self, student: Student, batch: Mapping[str, Batch], step: int) -> Loss:  # noqa: ARG002
        """Return the cross-entropy of the refusals and the retention, in nats a token."""
        refusals, retained = batch["harmful"], batch["retained"]
        written = written_entropy(student, refusals)
        held = mean_divergence(student.logits(retained), retained)
        total = written + self.settings.retain_weight * held
        return Loss(total, {"cross_entropy": written, "retention": held})
