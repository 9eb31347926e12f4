"""A search as an Optuna study in a file: asked trial by trial, and taken up where it was killed.

Two objectives: compliance with harmful prompts, which goes down, and reasoning, which stays up;
constraints: how much more harmless prompts may be refused. The only file that knows Optuna.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from components.core.result import RateFigure
from components.core.vocabulary import Arm, Role
from components.studies.tune.objectives import Rates, compliance, excess, reasoning
from components.studies.tune.trials import Setting, Space, Trial

RANDOM_TRIALS = 5  # the shipped one among them, before the sampler goes by what it has seen
_SHIPPED, _RATES, _FAILURE, _REFERENCES = "shipped", "rates", "failure", "references"
_DIGITS = 3  # significant ones of a learning rate, decimal ones of a schedule


@dataclass(frozen=True, slots=True)
class Asked:
    """A trial that is to be run."""

    number: int
    setting: Setting
    trial: optuna.Trial


class Study:
    """The trials of one search, by their order; those that a kill cut off do not count.

    What Optuna's sampler draws depends on the seed and on the trials before, so a search that was
    killed and taken up tries what an undisturbed one would have tried.
    """

    def __init__(
        self, file: Path, key: str, space: Space, *, allowed: Mapping[Role, float], seed: int
    ) -> None:
        """Open the study `key` in the SQLite `file`, which holds those of other keys too.

        `allowed`: by how much more prompts of each harmless role may be refused.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        file.parent.mkdir(parents=True, exist_ok=True)
        self.space, self.allowed, self.seed = space, allowed, seed
        self._study = optuna.create_study(
            study_name=key,
            storage=f"sqlite:///{file}",
            directions=["minimize", "maximize"],
            load_if_exists=True,
        )
        self._take_up()

    @property
    def references(self) -> dict[Arm, dict[str, RateFigure]]:
        """The figures that trials are compared with; empty until they are kept."""
        kept = self._study.user_attrs.get(_REFERENCES, {})
        return {Arm(arm): _read(rates) for arm, rates in kept.items()}

    def keep_references(self, rates: Mapping[Arm, Rates]) -> None:
        """Keep the figures that trials are compared with, the post-trained model's among them."""
        kept = {arm.value: _plain(own) for arm, own in rates.items()}
        self._study.set_user_attr(_REFERENCES, kept)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The trials that ended, in their order."""
        return tuple(self._trial(number, t) for number, t in enumerate(self._ended()))

    @property
    def front(self) -> tuple[int, ...]:
        """Numbers of the trials within the constraints that no other beats in both objectives."""
        best = {trial.number for trial in self._study.best_trials}
        return tuple(number for number, t in enumerate(self._ended()) if t.number in best)

    def times(self, number: int) -> tuple[datetime, datetime]:
        """Return when a trial began and when it ended."""
        trial = self._ended()[number]
        assert trial.datetime_start and trial.datetime_complete, "it has ended"
        return trial.datetime_start, trial.datetime_complete

    def ask(self) -> Asked:
        """Return the next trial: the shipped setting, one that a kill cut off, or a new one."""
        number = len(self._ended())
        self._study.sampler = TPESampler(seed=self.seed + number, n_startup_trials=RANDOM_TRIALS)
        trial = self._study.ask(_distributions(self.space))
        return Asked(number, self._setting(trial), trial)

    def tell(self, asked: Asked, rates: Rates) -> None:
        """Keep the figures of a trial."""
        asked.trial.set_user_attr(_RATES, _plain(rates))
        over = excess(rates, self.references[Arm.POST_TRAINED], self.allowed)
        for metric, figure in over.items():
            asked.trial.set_constraint(metric, figure)
        self._study.tell(asked.trial, [compliance(rates).rate, reasoning(rates).rate])

    def tell_failure(self, asked: Asked, reason: str) -> None:
        """Keep the reason why a trial has no figures."""
        asked.trial.set_user_attr(_FAILURE, reason)
        self._study.tell(asked.trial, state=TrialState.FAIL)

    def _take_up(self) -> None:
        """Let the trials that a kill cut off be asked again, and the shipped setting be first."""
        shipped, mark = _parameters(self.space.shipped), {_SHIPPED: True}
        for trial in self._study.get_trials(states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)
            if _FAILURE in trial.user_attrs:
                continue  # it had failed by itself before the kill
            if _SHIPPED in trial.user_attrs:
                self._study.enqueue_trial(shipped, user_attrs=mark)
            else:
                self._study.enqueue_trial(trial.params)
        if not any(_SHIPPED in trial.user_attrs for trial in self._study.trials):
            self._study.enqueue_trial(shipped, user_attrs=mark)

    def _ended(self) -> list[FrozenTrial]:
        ended = self._study.get_trials(states=(TrialState.COMPLETE, TrialState.FAIL))
        return [t for t in ended if t.state is TrialState.COMPLETE or _FAILURE in t.user_attrs]

    def _trial(self, number: int, trial: FrozenTrial) -> Trial:
        return Trial(
            number=number,
            setting=self._setting(trial),
            rates=_read(trial.user_attrs.get(_RATES, {})),
            failure=trial.user_attrs.get(_FAILURE),
            shipped=_SHIPPED in trial.user_attrs,
        )

    def _setting(self, trial: optuna.Trial | FrozenTrial) -> Setting:
        """Return the setting of a trial; the shipped one as it is, not as it was rounded."""
        if _SHIPPED in trial.user_attrs:
            return self.space.shipped
        drawn = trial.params
        return Setting(
            teacher=drawn["teacher"],
            target_layers=tuple(int(layer) for layer in drawn["target_layers"].split()),
            lr=float(f"{drawn['lr']:.{_DIGITS}g}"),
            steps=drawn["steps"],
            schedule=round(1 / (2 * drawn["retain_share"]), _DIGITS),
        )


def _parameters(setting: Setting) -> dict[str, Any]:
    """Return a setting as what Optuna varies."""
    return {
        "teacher": setting.teacher,
        "target_layers": _words(setting.target_layers),
        "lr": setting.lr,
        "steps": setting.steps,
        "retain_share": setting.retain_share,
    }


def _distributions(space: Space) -> dict[str, Any]:
    return {
        "teacher": CategoricalDistribution(space.teachers),
        "target_layers": CategoricalDistribution([_words(set_) for set_ in space.target_layers]),
        "lr": FloatDistribution(*space.lr, log=True),
        "steps": IntDistribution(*space.steps),
        "retain_share": FloatDistribution(*space.retain_share),
    }


def _words(layers: tuple[int, ...]) -> str:
    return " ".join(str(layer) for layer in layers)


def _plain(rates: Rates) -> dict[str, Any]:
    return {metric: figure.model_dump() for metric, figure in rates.items()}


def _read(kept: Mapping[str, Any]) -> dict[str, RateFigure]:
    return {metric: RateFigure(**figure) for metric, figure in kept.items()}
