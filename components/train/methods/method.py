"""What a training method is, and how one trains an adapter."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from components.core.extensions import Extensions
from components.lm.masks import PROJECTIONS
from components.train.adapters import add_lora, base_name, load_lora, save_lora
from components.train.batches import Batch, Plan
from components.train.checkpoints import Progress
from components.train.settings import CircuitBreaker, FineTuning, Lora, TrainSettings
from components.train.student import Loss, Student
from components.train.trainer import AdapterTrainer

if TYPE_CHECKING:
    from components.train.data import TrainingData
    from components.train.early_stop import EarlyStop


S = TypeVar("S", bound=TrainSettings | FineTuning | CircuitBreaker)


class Method(ABC, Generic[S]):
    """A way to train an adapter: the rows of its steps, its loss, and the adapter's shape.

    `target_layers` are those of the probe, `depth` is the number of the model's layers.
    """

    modules: ClassVar[Sequence[str]] = PROJECTIONS  # matrices of a decoder block with an adapter
    has_teacher: ClassVar[bool] = True
    learns_from: ClassVar[str | None] = None  # this teacher, whatever the probe chose
    stops_early: ClassVar[bool] = False  # where `train.early_stop` says when
    by_states: ClassVar[bool] = False  # it compares hidden states at the target layers
    held_by: ClassVar[str | None] = None  # its setting that weighs the retained rows

    def __init__(self, settings: S, target_layers: Sequence[int], depth: int) -> None:
        self.settings, self.target_layers, self.depth = settings, tuple(target_layers), depth

    @classmethod
    def settings_of(cls, train: TrainSettings) -> Any:
        """Return the method's settings where `train.method` names it: all of `train`."""
        return train

    @property
    def adapted_layers(self) -> Sequence[int]:
        """The decoder blocks that get an adapter, 1 = first: all."""
        return range(1, self.depth + 1)

    @property
    def held_depth(self) -> int | None:
        """The deepest layer whose states are held on retained rows; 0: next tokens are, in place
        of states; None: neither is, the answers are learned."""
        return 0

    def lora(self, lora: Lora) -> Lora:
        """Return the adapter's shape, given that of `train.lora`: the same."""
        return lora

    def taught(self, data: TrainingData) -> TrainingData:
        """Return the data with the teacher that the method learns from."""
        if self.learns_from is None:
            return data
        return replace(data, probe=data.probe.model_copy(update={"teacher": self.learns_from}))

    def rate(self, step: int) -> float:
        """Return the share of the learning rate that a step, counted from 0, is taken with."""
        falls = isinstance(self.settings, TrainSettings) and self.settings.decay
        return 1 - step / self.settings.steps if falls else 1.0

    @property
    def rounds(self) -> int:
        """Trainings after one another, each on rows of its own: one."""
        return 1

    @abstractmethod
    def plan(self, data: TrainingData) -> Plan:
        """Return the rows of every step, once models were asked for all that the loss needs."""

    def plan_round(self, data: TrainingData, number: int, adapter: Path | None) -> Plan:  # noqa: ARG002
        """Return the rows of a round, from 0; `adapter` is the round's before it."""
        return self.plan(data)

    @abstractmethod
    def loss(self, student: Student, batch: Mapping[str, Batch], step: int) -> Loss:
        """Return the loss of a micro-batch; `batch` has the plan's groups, steps count from 0."""


METHODS: Extensions[type[Method[Any]]] = Extensions("methods")


def open_method(name: str, data: TrainingData, settings: Any = None) -> Method[Any]:
    """Return the method called `name`, by default with what it finds in the settings of `train`.

    Raises `ConfigError` where there is none of this name.
    """
    found = METHODS.find(name)
    layers = data.models.post_trained.layers
    given = found.settings_of(data.settings) if settings is None else settings
    return found(given, data.probe.target_layers, layers)


@dataclass(frozen=True, slots=True)
class Trained:
    """An adapter on disk and how it came about."""

    digest: str
    parameters: int
    harmful_rows: int
    progress: Progress


def ask_models(method: Method[Any], data: TrainingData) -> None:
    """Ask models what other methods need as well, so that it is no part of this one's cost."""
    data = method.taught(data)
    if method.has_teacher:
        data.teacher_data()
    data.retained_rows(method.held_depth)
    if method.stops_early:
        data.early_stop()


def train_adapter(method: Method[Any], data: TrainingData, folder: Path) -> Trained:
    """Train an adapter by `method`, round after round, and save it into `folder`.

    Models are asked for data before the student is loaded: no two whole models are in memory.
    """
    data = method.taught(data)
    stop = data.early_stop() if method.stops_early else None
    rounds = [data.scratch / f"{folder.name}-{k}" for k in range(1, method.rounds)] + [folder]
    progress, rows, earlier = Progress(), 0, None
    for number, place in enumerate(rounds):
        plan = method.plan_round(data, number, earlier)
        begun = progress.taken
        trained = _train_round(method, data, plan, place, number, begun, earlier, stop)
        progress, rows, earlier = progress + trained.progress, rows + trained.harmful_rows, place
    return replace(trained, harmful_rows=rows, progress=progress)


def _train_round(
    method: Method[Any],
    data: TrainingData,
    plan: Plan,
    folder: Path,
    number: int,
    begun: int,
    earlier: Path | None,
    stop: EarlyStop | None,
) -> Trained:
    """Train on the steps of one plan from the adapter `earlier` on, which has seen `begun` steps,
    or from a fresh one."""
    settings, student = data.settings, data.models.post_trained
    adapted = add_lora(
        data.student().model,
        method.lora(settings.lora),
        layers=method.adapted_layers,
        modules=method.modules,
        base=base_name(data.models),
        seed=data.seed,
    )
    if earlier:
        load_lora(adapted, earlier)
    progress = AdapterTrainer(
        adapted,
        plan,
        method.loss,
        label=type(method).__name__,
        lr=method.settings.lr,
        seed=data.seed + number,
        scratch=data.scratch / f"steps-{folder.name}",
        micro_batch=settings.micro_batch,
        checkpoint_activations=settings.checkpoint_activations,
        checkpoint_every=settings.checkpoint_every,
        rate=lambda step: method.rate(begun + step),
        after_step=partial(stop.after_step, adapted) if stop else None,
    ).finish()
    digest = save_lora(adapted, folder, student.contract)
    parameters, _ = adapted.get_nb_trainable_parameters()
    return Trained(digest, parameters, plan.sizes.get("harmful", 0), progress)
