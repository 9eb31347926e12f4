"""SafeReAct on one page (arXiv 2604.00012): teacher, targets, loss, schedule, in the paper's order.

`h_l(x)_t` is the hidden state of layer l at token t of x. The numbers are those of docs/method.md:

    (1) teacher   g: a model that still refuses x, asked x + reminder where it is reminded
    (2) targets   g_l(x)_t on harmful x, l in T;   p_l(x)_t, the post-trained model's, on retained x
    (3) distance  D_l..(h, r) = mean over layers l.. and tokens t of ||h_l,t - r_l,t||_2
    (4) loss      L = a (1 - c) D_T(h, g) + a c D_1..max T(h, p)
    (5) schedule  c = step / (1.5 * steps)

Deviations from the paper stand in docs/method.md, each with its reason. Another loss is written
here, or as a subclass with a `loss` of its own; the trainer knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from components.train.batches import Batch, Plan, TargetRows, paired
from components.train.methods.method import METHODS, Method
from components.train.settings import TrainSettings
from components.train.student import Loss, Student

if TYPE_CHECKING:
    from components.train.data import TrainingData
    from components.train.taught import TeacherData


@METHODS.register("safereact")
class SafeReAct(Method[TrainSettings]):
    """Towards the teacher's states on harmful rows, in place on the retained ones."""

    stops_early, by_states, held_by = True, True, "schedule"

    def teacher(self, data: TrainingData) -> TeacherData:
        """Return what the teacher of (1) gives: its greedy refusals and its states there.

        It is the one that `probe` has checked; teacher.py says how each kind is opened.
        """
        return data.teacher_data()

    def targets(self, data: TrainingData) -> dict[str, TargetRows]:
        """Return the rows with the targets of (2), stored, or computed in each step where large.

        The layers above the deepest target have no adapter, so they need not be held.
        """
        harmful = self.teacher(data).rows
        return {"harmful": harmful, "retained": data.retained_rows(self.held_depth)}

    def loss(self, student: Student, batch: Mapping[str, Batch], step: int) -> Loss:
        """Return (4): alignment with the teacher and retention, with a = `train.strength`."""
        alignment = distance(student, batch["harmful"], self.target_layers)
        retention = distance(student, batch["retained"], self.adapted_layers)
        a, c = self.settings.strength, self.schedule(step)
        total = a * ((1 - c) * alignment + c * retention)
        return Loss(total, {"alignment": alignment, "retention": retention}, {"c": c})

    def schedule(self, step: int) -> float:
        """Return c of (5), with steps from 0 and `train.schedule` in place of the paper's 1.5."""
        return step / (self.settings.schedule * self.settings.steps)

    @property
    def adapted_layers(self) -> Sequence[int]:
        """Layers 1 to the deepest target."""
        return range(1, max(self.target_layers) + 1)

    @property
    def held_depth(self) -> int:
        """The deepest target."""
        return max(self.target_layers)

    def plan(self, data: TrainingData) -> Plan:
        """Return steps of `train.batch` harmful and as many retained rows."""
        batch, steps = data.settings.batch, self.settings.steps
        return paired(self.targets(data), steps=steps, batch=batch, seed=data.seed)


def distance(student: Student, batch: Batch, layers: Sequence[int]) -> Tensor:
    """Return (3) between the student's states and the targets of a batch."""
    states, targets = student.states(batch, layers), student.targets(batch, layers)
    return mean_distance(states, targets, batch.mask, positions=batch.positions)


def mean_distance(
    states: Sequence[Tensor], targets: Tensor, mask: Tensor, *, positions: int
) -> Tensor:
    """Return the mean over layers l and `positions` positions t of ||states_l,t - targets_t,l||_2.

    `states` holds one tensor (row, position, hidden) a layer; `mask` (row, position) is true where
    a position counts; `targets` (counted position, layer, hidden) are in the same order, row after
    row. `positions` count in the whole step, of which a batch may be a part: the parts' losses sum
    to the step's. Padding takes no part; the authors' code averages over it. In single precision.
    """
    distances = [
        torch.linalg.vector_norm(layer[mask].float() - targets[:, i].float(), dim=-1)
        for i, layer in enumerate(states)
    ]
    return torch.stack(distances).sum() / (max(positions, 1) * len(distances))
