"""Trials of a search for a better setting: what is varied, and how one is run.

A trial trains the adapter with other settings and measures it on validation prompts. This module
joins rooms, so no room imports it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from components.core.fingerprints import Code
from components.core.paths import ADAPTER, TRIALS, Workspace
from components.core.result import RateFigure, Record, Result
from components.core.vocabulary import Arm, Role
from components.models.result import Models
from components.prepare.result import PromptSet
from components.probe.result import Probe
from components.profile import Profile
from components.stages import dependencies
from components.train.settings import TrainSettings

REFERENCES = (Arm.BASE, Arm.POST_TRAINED)


class Setting(Record):
    """What a trial changes in a profile."""

    teacher: str
    target_layers: tuple[int, ...]
    lr: float
    steps: int
    schedule: float

    @property
    def retain_share(self) -> float:
        """The mean weight of the retained rows: c grows from 0 to 1 / schedule over the steps."""
        return 1 / (2 * self.schedule)

    def changes(self) -> dict[str, dict[str, Any]]:
        """Return the setting as sections of a profile."""
        train = {"lr": self.lr, "steps": self.steps, "schedule": self.schedule}
        return {
            "probe": {"teacher": self.teacher, "target_layers": list(self.target_layers)},
            "train": train,
        }


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
    """The bounds of a search, both ends included; the profile's own setting lies within."""

    shipped: Setting
    teachers: tuple[str, ...]
    target_layers: tuple[tuple[int, ...], ...]
    lr: tuple[float, float]
    steps: tuple[int, int]
    retain_share: tuple[float, float]


def search_space(profile: Profile, probe: Probe, layers: int) -> Space:
    """Return the bounds that the section `tune` sets around the profile's own setting.

    `layers` is the depth of the post-trained model.
    """
    bounds, train = profile.tune, profile.train
    shipped = Setting(
        teacher=probe.teacher,
        target_layers=probe.target_layers,
        lr=train.lr,
        steps=train.steps,
        schedule=train.schedule,
    )
    passed = [t.teacher for t in probe.teachers if t.passed and t.teacher in bounds.teachers]
    return Space(
        shipped=shipped,
        teachers=tuple(dict.fromkeys((shipped.teacher, *passed))),
        target_layers=tuple(
            dict.fromkeys((shipped.target_layers, *_layer_sets(bounds.layer_counts, layers)))
        ),
        lr=(train.lr / bounds.lr_factor, min(train.lr * bounds.lr_factor, 1.0)),
        steps=(
            max(1, round(train.steps / bounds.steps_factor)),
            round(train.steps * bounds.steps_factor),
        ),
        retain_share=(
            min(bounds.min_retain_share, shipped.retain_share),
            max(bounds.max_retain_share, shipped.retain_share),
        ),
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
    key: str  # digest of all that a trial's figures depend on

    @property
    def space(self) -> Space:
        """What is searched."""
        return search_space(self.profile, self.probe, self.models.post_trained.layers)

    @property
    def allowed(self) -> dict[Role, float]:
        """By how much more prompts of each harmless role may be refused."""
        bounds = self.profile.tune
        return {Role.BENIGN: bounds.max_benign_rise, Role.BORDERLINE: bounds.max_borderline_rise}

    def references(self) -> dict[Arm, dict[str, RateFigure]]:
        """Return the figures of the models that the adapter is to be compared with."""
        return {arm: self._measure(arm) for arm in REFERENCES}

    def run(self, setting: Setting, scratch: Path) -> dict[str, RateFigure]:
        """Return the figures of the post-trained model with an adapter trained under `setting`.

        Nothing is written outside of `scratch`. Raises what the training raises.
        """
        from components.train.data import TrainingData
        from components.train.methods import open_method, train_adapter

        changes = setting.changes()
        train = TrainSettings.model_validate(self.profile.train.model_dump() | changes["train"])
        probe = self.probe.model_copy(
            update={"teacher": setting.teacher, "target_layers": setting.target_layers}
        )
        models, seed = self.models, self.profile.seed
        data = TrainingData(train, self.prompts, models, probe, seed, scratch / "data")
        train_adapter(open_method(train.method, data), data, scratch / ADAPTER)
        return self._measure(Arm.RESTORED, adapter=scratch / ADAPTER)

    def _measure(self, arm: Arm, adapter: Path | None = None) -> dict[str, RateFigure]:
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
        seed=profile.seed,
    )


def open_bench(profile: Profile, workspace: Workspace) -> Bench:
    """Return the bench of a profile whose stages `prepare` to `probe` are up to date."""
    prompts = PromptSet.load(workspace.stage("prepare"))
    models, probe = Models.load(workspace.stage("models")), Probe.load(workspace.stage("probe"))
    runner = open_runner(profile, workspace)
    sections = (profile.train, profile.evaluate, profile.tune)
    code = Code().fingerprint(__name__)
    key = dependencies(sections, profile.seed, (prompts, models, probe), code=code)
    return Bench(profile, prompts, models, probe, runner, key)
