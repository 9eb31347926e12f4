"""A search as an Optuna study in a file: round by round, and taken up where it was killed.

Two objectives: compliance with harmful prompts, which goes down, and reasoning, which stays up;
constraints: how much more harmless prompts may be refused. The only file that knows Optuna.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from components.core.result import RateFigure
from components.core.storage import atomic_path
from components.core.vocabulary import Arm, Role
from components.studies.tune.objectives import (
    Rates,
    best_of,
    compliance,
    excess,
    reasoning,
    yardstick,
)
from components.studies.tune.places import Tried
from components.studies.tune.trials import Bench, Search, Setting, Space, Trial, held

RANDOM_TRIALS = 5  # the shipped one among them, before the sampler goes by what it has seen
_DIRECTIONS = (StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE)
_SHIPPED, _RATES, _FAILURE, _REFERENCES = "shipped", "rates", "failure", "references"
_DIGITS = 3  # significant ones of a learning rate, decimal ones of what weighs the retained rows


@dataclass(frozen=True, slots=True)
class Proposal:
    """A trial that is to be run."""

    number: int
    setting: Setting
    trial: optuna.Trial


class Study:
    """The trials of one search that ended, by their order.

    What Optuna's sampler draws depends on the seed and on the trials before the round alone, so a
    search that was killed and taken up tries what an undisturbed one would have tried.
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
            directions=_DIRECTIONS,
            load_if_exists=True,
        )

    @property
    def references(self) -> dict[Arm, dict[str, RateFigure]]:
        """The figures that trials are compared with; empty until they are stored."""
        stored = self._study.user_attrs.get(_REFERENCES, {})
        return {Arm(arm): _read(rates) for arm, rates in stored.items()}

    def store_references(self, rates: Mapping[Arm, Rates]) -> None:
        """Store the figures that trials are compared with, the post-trained model's among them."""
        plain = {arm.value: _plain(own) for arm, own in rates.items()}
        self._study.set_user_attr(_REFERENCES, plain)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The trials that ended, in their order."""
        return tuple(
            Trial(
                number=number,
                setting=self._setting(trial),
                rates=_read(trial.user_attrs.get(_RATES, {})),
                failure=trial.user_attrs.get(_FAILURE),
                shipped=_SHIPPED in trial.user_attrs,
            )
            for number, trial in enumerate(self._study.trials)
        )

    @property
    def front(self) -> tuple[int, ...]:
        """Numbers of the trials within the constraints that no other beats in both objectives."""
        best = {trial.number for trial in self._study.best_trials}
        return tuple(number for number, t in enumerate(self._study.trials) if t.number in best)

    def times(self, number: int) -> tuple[datetime, datetime]:
        """Return when a trial began and when it ended."""
        trial = self._study.trials[number]
        assert trial.datetime_start and trial.datetime_complete, "it has ended"
        return trial.datetime_start, trial.datetime_complete

    def propose(self, at_once: int = 1) -> list[Proposal]:
        """Return the trials that are left of the next round of `at_once`.

        The first trial of all is the shipped setting. Each knows the figures of the rounds before,
        and keeps away from the settings of its round, of which nothing is known yet.
        """
        ended = self._study.trials
        begin = len(ended) - len(ended) % at_once
        drawn = optuna.create_study(directions=_DIRECTIONS)
        drawn.add_trials(ended[:begin])
        if not begin:
            drawn.enqueue_trial(self._shipped(), user_attrs={_SHIPPED: True})
        proposals = []
        for number in range(begin, begin + at_once):
            drawn.sampler = TPESampler(seed=self.seed + number, n_startup_trials=RANDOM_TRIALS)
            trial = drawn.ask(self._searched())
            proposals.append(Proposal(number, self._setting(trial), trial))
        return proposals[len(ended) - begin :]

    def add(self, proposal: Proposal, tried: Tried) -> None:
        """Store what became of a trial: its figures, or the reason why it has none."""
        drawn = proposal.trial
        if tried.failure is None:
            over = excess(tried.rates, yardstick(self.references), self.allowed)
            found: dict[str, Any] = {"values": _objectives(tried.rates), "constraints": over}
            stored: dict[str, Any] = {_RATES: _plain(tried.rates)}
        else:
            found = {"state": TrialState.FAIL}
            stored = {_FAILURE: tried.failure}
        trial = optuna.create_trial(
            params=drawn.params,
            distributions=drawn.distributions,
            user_attrs={**drawn.user_attrs, **stored},
            **found,
        )
        trial.datetime_start = datetime.fromtimestamp(tried.begin)
        trial.datetime_complete = datetime.fromtimestamp(tried.end)
        self._study.add_trial(trial)

    def conclude(self, bench: Bench) -> Search:
        """Return the trials so far, with the front and the best of them."""
        references, trials = self.references, self.trials
        before, loss = yardstick(references), bench.profile.tune.max_reasoning_loss
        best = best_of(trials, before, allowed=self.allowed, max_reasoning_loss=loss)
        return Search(
            profile=bench.profile.name,
            key=bench.key,
            data=bench.prompts.digest_of_prompts,
            prompts=bench.runner.plan.digest,
            allowed=bench.allowed,
            references=references,
            trials=trials,
            front=self.front,
            best=best.number if best else None,
        )

    def _searched(self) -> dict[str, BaseDistribution]:
        """Return what is drawn of every trial."""
        space = self.space
        searched: dict[str, BaseDistribution] = {
            "teacher": CategoricalDistribution(space.teachers),
            "target_layers": CategoricalDistribution(list(map(_joined, space.target_layers))),
            "lr": FloatDistribution(*space.lr, log=True),
            "steps": IntDistribution(*space.steps),
        }
        if space.held_by:
            searched["retain_share"] = FloatDistribution(*space.retain_share)
        return searched

    def _shipped(self) -> dict[str, Any]:
        """Return the shipped setting as it is drawn."""
        first = self.space.shipped
        return {
            **first.model_dump(include={"teacher", "lr", "steps"}),
            "target_layers": _joined(first.target_layers),
            **({"retain_share": first.retain_share} if self.space.held_by else {}),
        }

    def _setting(self, trial: optuna.Trial | FrozenTrial) -> Setting:
        """Return the setting of a trial; the shipped one as it is, not as it was rounded."""
        if _SHIPPED in trial.user_attrs:
            return self.space.shipped
        drawn, name = trial.params, self.space.held_by
        weight = {name: round(held(name, drawn["retain_share"]), _DIGITS)} if name else {}
        return Setting(
            teacher=drawn["teacher"],
            target_layers=tuple(int(layer) for layer in drawn["target_layers"].split()),
            lr=float(f"{drawn['lr']:.{_DIGITS}g}"),
            steps=drawn["steps"],
            **weight,
        )


def draw_pareto(search: Search, path: Path) -> None:
    """Write Optuna's plot of the Pareto front as SVG, the same bytes for the same search.

    Beside the trials stand the two models that they are compared with, the shipped setting and the
    best one, with their intervals.
    """
    import matplotlib
    from matplotlib import style
    from optuna.visualization.matplotlib import plot_pareto_front

    from components.probe.canvas import STYLE

    matplotlib.use("agg")  # Optuna draws by pyplot, which would open a window on some desktops
    from matplotlib import pyplot

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    measured = [trial for trial in search.trials if trial.failure is None]
    study, before = optuna.create_study(directions=_DIRECTIONS), yardstick(search.references)
    for trial in measured:
        over = excess(trial.rates, before, search.allowed)
        values = _objectives(trial.rates)
        study.add_trial(optuna.create_trial(values=values, constraints=over))
    marks = [(arm.value, rates) for arm, rates in search.references.items()]
    marks += [("shipped setting", trial.rates) for trial in measured if trial.shipped]
    marks += [("best setting", t.rates) for t in measured if t.number == search.best]
    n = max(compliance(rates).n for rates in search.references.values())
    title = f"{search.profile}: {len(search.trials)} trials on {n} harmful validation prompts"
    names = ["complies with harmful prompts", "reasoning correct"]
    with style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the plot is marked as experimental
        axes = plot_pareto_front(study, target_names=names)
        axes.set_title(title)
        for marker, (name, rates) in zip("^DsP", marks, strict=False):
            x, y = compliance(rates), reasoning(rates)
            bars = (_reach(y), _reach(x))
            axes.errorbar(x.rate, y.rate, *bars, fmt=marker, fillstyle="none", label=name)
        axes.legend()
        with atomic_path(path) as scratch:
            pyplot.savefig(scratch, format="svg", metadata={"Date": None, "Creator": None})
        pyplot.close()


def _reach(figure: RateFigure) -> list[list[float]]:
    return [[figure.rate - figure.low], [figure.high - figure.rate]]


def _objectives(rates: Rates) -> list[float]:
    return [compliance(rates).rate, reasoning(rates).rate]


def _joined(layers: tuple[int, ...]) -> str:
    return " ".join(str(layer) for layer in layers)


def _plain(rates: Rates) -> dict[str, Any]:
    return {metric: figure.model_dump() for metric, figure in rates.items()}


def _read(stored: Mapping[str, Any]) -> dict[str, RateFigure]:
    return {metric: RateFigure(**figure) for metric, figure in stored.items()}
