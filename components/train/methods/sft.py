"""Plain fine-tuning on the teacher's refusals: the baseline, and a variant of rank 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from components.train.batches import Batch, Plan, mixed
from components.train.methods.method import METHODS, Method
from components.train.settings import FineTuning, Lora, RankOne, TrainSettings
from components.train.student import Loss, Student, completion_loss

if TYPE_CHECKING:
    from components.train.data import TrainingData


@METHODS.register("sft")
class Sft(Method[FineTuning]):
    """Cross-entropy on the teacher's refusals, with a share of retained answers in each batch."""

    held_by: ClassVar[str | None] = "retain"
    held_depth = None  # retained answers are learned like refusals

    @classmethod
    def settings_of(cls, train: TrainSettings) -> FineTuning:
        """Return the rate and steps of `train`, and the baseline's share of retained rows."""
        return FineTuning(retain=train.baseline_retain, lr=train.lr, steps=train.steps)

    def plan(self, data: TrainingData) -> Plan:
        """Return steps that hold their share of retained rows."""
        retained = round(self.settings.retain * data.settings.batch)
        kinds = {
            "harmful": (data.teacher_data().refusals, data.settings.batch - retained),
            "retained": (data.retained_rows(self.held_depth).rows, retained),
        }
        return mixed(kinds, steps=self.settings.steps, seed=data.seed)

    def loss(self, student: Student, batch: Mapping[str, Batch], step: int) -> Loss:
        """Return the mean cross-entropy a token, in nats."""
        return completion_loss(student, batch, step)


@METHODS.register("rank-one")
class RankOneSft(Sft):
    """The same on one direction of the middle third's up_proj (arXiv 2507.17075)."""

    modules, held_by = ("up_proj",), None

    @classmethod
    def settings_of(cls, train: TrainSettings) -> RankOne:
        """Return the rate and steps of `train`."""
        return RankOne(lr=train.lr, steps=train.steps)

    @property
    def adapted_layers(self) -> Sequence[int]:
        """The middle third of the layers."""
        return range(self.depth // 3 + 1, self.depth - self.depth // 3 + 1)

    def lora(self, lora: Lora) -> Lora:
        """Return rank 1, with an update that is scaled by 1."""
        return lora.model_copy(update={"r": 1, "alpha": 1})
