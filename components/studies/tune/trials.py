"""Trials of a search for a better setting: what is varied, and how one is run.

A trial trains the adapter with other settings and measures it on validation prompts. This module
joins rooms, so no room imports it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from components.core.fingerprints import Code
from components.core.paths import ADAPTER, TRIALS, Workspace
from components.core.result import RateFigure, Record, Result
from components.core.vocabulary import Arm, Role
from components.models.result import Models
from components.prepare.result import PromptSet
from components.probe.result import Probe
from components.profile import Profile
from components.stages import dependencies

if TYPE_CHECKING:
    from components.studies.tune.settings import TuneSettings
    from components.train.methods import Method

REFERENCES = (Arm.BASE, Arm.POST_TRAINED)


class Setting(Record):
    """What a trial changes in a profile."""

    teacher: str
    target_layers: tuple[int, ...]
    lr: float
    steps: int
    # What weighs the retained rows, where the method has one of these.
    schedule: float | None = None
    retain_weight: float | None = None
    retain: float | None = None

    @property
    def retain_share(self) -> float | None:
        """The mean share of the retained rows in the loss or in a batch; None: the method says.

        By `schedule`, their weight grows from 0 to 1 / schedule over the steps.
        """
        if self.schedule is not None:
            return 1 / (2 * self.schedule)
        if self.retain_weight is not None:
            return self.retain_weight / (1 + self.retain_weight)
        return self.retain

    @property
    def own(self) -> dict[str, Any]:
        """What the setting says of the method's own settings, by their names."""
        return self.model_dump(exclude_none=True, exclude={"teacher", "target_layers"})

    def changes(self) -> dict[str, dict[str, Any]]:
        """Return the setting as sections of a profile whose `train.method` it is for."""
        train = {_IN_TRAIN.get(name, name): value for name, value in self.own.items()}
        return {
            "probe": {"teacher": self.teacher, "target_layers": list(self.target_layers)},
            "train": train,
        }


_IN_TRAIN = {"retain": "baseline_retain"}  # where `train` has another name


def held(name: str, share: float) -> float:
    """Return the setting `name` under which the retained rows have this share."""
    values = {
        "schedule": 1 / (2 * share) if share else 1.0,
        "retain_weight": share / (1 - share),
        "retain": share,
    }
    return values[name]


class Trial(Record):
    """One setting with its figures, or the reason why it has none."""

    number: int
    setting: Setting
    rates: dict[str, RateFigure]
    failure: str | None
    shipped: bool = False  # the profile's own setting


class Search(Result):
    """All trials of a study with the post-trained and the base model beside them."""

    FILE: ClassVar[str] = TRIALS

    profile: str
    key: str  # digest of all that the trials depend on
    data: str  # digest_of_prompts
    prompts: str  # digest of the ids that were asked, all of the validation split
    allowed: dict[Role, float]  # by how much more harmless prompts may be refused
    references: dict[Arm, dict[str, RateFigure]]
    trials: tuple[Trial, ...]
    front: tuple[int, ...]  # numbers of the trials that no other one beats in both objectives
    best: int | None  # None: no setting is good enough


# --- what is searched ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Space:
    """The bounds of a search, both ends included; the profile's own setting lies within.

    `held_by` is the setting that weighs the retained rows, if the method has one.
    """

    shipped: Setting
    teachers: tuple[str, ...]
    target_layers: tuple[tuple[int, ...], ...]
    lr: tuple[float, float]
    steps: tuple[int, int]
    retain_share: tuple[float, float]
    held_by: str | None = "schedule"


def search_space(
    bounds: TuneSettings, method: type[Method[Any]], settings: Any, probe: Probe, layers: int
) -> Space:
    """Return the bounds that the section `tune` sets around a method's own `settings`.

    `layers` is the depth of the post-trained model.
    """
    lr, steps, held_by = settings.lr, settings.steps, method.held_by
    weight = {held_by: getattr(settings, held_by)} if held_by else {}
    shipped = Setting(
        teacher=probe.teacher, target_layers=probe.target_layers, lr=lr, steps=steps, **weight
    )
    passed = [t.teacher for t in probe.teachers if t.passed and t.teacher in bounds.teachers]
    sets = _layer_sets(bounds.layer_counts, layers) if method.by_states else ()
    share = shipped.retain_share or 0.0
    return Space(
        shipped=shipped,
        teachers=tuple(dict.fromkeys((shipped.teacher, *(passed if method.has_teacher else ())))),
        target_layers=tuple(dict.fromkeys((shipped.target_layers, *sets))),
        lr=(lr / bounds.lr_factor, min(lr * bounds.lr_factor, 1.0)),
        steps=(max(1, round(steps / bounds.steps_factor)), round(steps * bounds.steps_factor)),
        retain_share=(min(bounds.min_retain_share, share), max(bounds.max_retain_share, share)),
        held_by=held_by,
    )


def _layer_sets(counts: Sequence[int], layers: int) -> Iterator[tuple[int, ...]]:
    """Yield layers spread over the whole depth and over its upper half, the last among them."""
    from components.probe.layers import spread

    half = layers // 2
    for count in counts:
        yield spread(layers, count)
        yield tuple(half + layer for layer in spread(layers - half, count))


# --- running one -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bench:
    """Where the trials of one profile are run, on its finished stages `prepare` to `probe`."""

    profile: Profile
    prompts: PromptSet
    models: Models
    probe: Probe
    runner: Any  # asks every model the same; of components.studies.tune.measuring
    settings: Any  # the method's own, where a trial does not say otherwise
    workspace: Workspace
    inputs: str  # digest of the three results and of the code
    key: str  # digest of all that a trial's figures depend on
    # What the two models did, for benches that ask them the same.
    measured: dict[Arm, dict[str, RateFigure]] = field(default_factory=dict)

    @property
    def space(self) -> Space:
        """What is searched."""
        from components.train.methods import METHODS

        method, layers = METHODS.find(self.profile.train.method), self.models.post_trained.layers
        return search_space(self.profile.tune, method, self.settings, self.probe, layers)

    @property
    def allowed(self) -> dict[Role, float]:
        """By how much more prompts of each harmless role may be refused."""
        bounds = self.profile.tune
        return {Role.BENIGN: bounds.max_benign_rise, Role.BORDERLINE: bounds.max_borderline_rise}

    def run(self, setting: Setting, scratch: Path) -> dict[str, RateFigure]:
        """Return the figures of the post-trained model with an adapter trained under `setting`.

        Nothing is written outside of `scratch`. Raises what the training raises.
        """
        from components.train.data import TrainingData
        from components.train.methods import open_method, train_adapter

        train = self.profile.train
        own = type(self.settings).model_validate(self.settings.model_dump() | setting.own)
        probe = self.probe.model_copy(
            update={"teacher": setting.teacher, "target_layers": setting.target_layers}
        )
        models, seed = self.models, self.profile.seed
        data = TrainingData(train, self.prompts, models, probe, seed, scratch / "data")
        train_adapter(open_method(train.method, data, own), data, scratch / ADAPTER)
        return self.measure(Arm.RESTORED, scratch / ADAPTER)

    def measure(self, arm: Arm, adapter: Path | None = None) -> dict[str, RateFigure]:
        """Return the figures of one arm; `adapter` is put on its model."""
        from components.studies.tune.measuring import measure

        gc.collect()  # an earlier model may still be held by its trainer's circle of references
        return measure(
            self.runner,
            self.models,
            arm,
            confidence=self.profile.evaluate.confidence,
            adapter=adapter,
        )


def open_runner(profile: Profile, workspace: Workspace) -> Any:
    """Return what every model of a search is asked, which the stage `prepare` alone decides.

    Raises what is wrong with the validation prompts.
    """
    from components.studies.tune.measuring import validation_runner

    return validation_runner(
        profile.evaluate,
        PromptSet.load(workspace.stage("prepare")),
        sizes=profile.tune.prompts,
        forms=profile.train.forms,
        seed=profile.data_seed,
    )


def open_bench(profile: Profile, workspace: Workspace, settings: Any = None) -> Bench:
    """Return the bench of a profile whose stages `prepare` to `probe` are up to date.

    `settings` are the method's own, by default those that it finds in the section `train`.
    """
    from components.train.methods import METHODS

    prompts = PromptSet.load(workspace.stage("prepare"))
    models, probe = Models.load(workspace.stage("models")), Probe.load(workspace.stage("probe"))
    runner = open_runner(profile, workspace)
    own = settings or METHODS.find(profile.train.method).settings_of(profile.train)
    sections = (profile.train, own, profile.evaluate, profile.tune)
    code, results = Code().fingerprint(__name__), (prompts, models, probe)
    seeds = (profile.seed, profile.data_seed)
    inputs = dependencies((), (), results, code=code)
    key = dependencies(sections, seeds, results, code=code)
    return Bench(profile, prompts, models, probe, runner, own, workspace, inputs, key)
