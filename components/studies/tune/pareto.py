"""The picture of a search: what every trial costs in reasoning and leaves in compliance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from components.core.result import RateFigure
from components.core.vocabulary import Arm
from components.probe.canvas import BLUE, FAINT, GREEN, INK, ORANGE, draw, legend
from components.studies.tune.objectives import Rates, compliance, excess, reasoning
from components.studies.tune.trials import Search, Trial

_HEIGHT = 420
_MOST_NUMBERS = 4  # beside one point
_REFERENCES = {Arm.POST_TRAINED: ("post-trained", "D"), Arm.BASE: ("base", "^")}


def draw_pareto(search: Search, path: Path) -> None:
    """Write the plot of all trials as SVG: per cent of harmful prompts complied with to the right,
    of reasoning correct upwards, the front joined, the post-trained and the base model beside it.

    Bars are the intervals of the best setting and of the two models. Numbers are those of the
    front's trials.
    """
    n = max(compliance(rates).n for rates in search.references.values())
    title = f"{search.profile}: {len(search.trials)} trials on {n} harmful validation prompts"
    draw(path, title, _HEIGHT, lambda figure: _fill(figure, search))


def _fill(figure: Figure, search: Search) -> None:
    axes = figure.add_subplot()
    before = search.references[Arm.POST_TRAINED]
    measured = [trial for trial in search.trials if trial.failure is None]
    front = [trial for trial in measured if trial.number in search.front]
    others = [trial for trial in measured if trial.number not in search.front]
    beyond = [t for t in others if max(excess(t.rates, before, search.allowed).values()) > 0]
    _dots(axes, beyond, "refuses too much else", "x", color=FAINT)
    _dots(axes, [t for t in others if t not in beyond], "trial", "o", color=FAINT, fillstyle="none")
    steps = sorted({_place(trial.rates) for trial in front})
    if steps:
        axes.step(*zip(*steps, strict=True), where="post", color=BLUE, linewidth=1)
    _dots(axes, front, "Pareto front", "o", color=BLUE)
    for trial in measured:
        if trial.shipped:
            _mark(axes, trial.rates, "shipped setting", marker="s", color=ORANGE)
        if trial.number == search.best:
            _mark(axes, trial.rates, "best setting", marker="o", color=BLUE, bars=True)
    for arm, (name, marker) in _REFERENCES.items():
        rates = search.references[arm]
        _mark(axes, rates, name, marker=marker, color=GREEN, bars=True)
    _number(axes, front)
    axes.set_xlabel("complies with harmful prompts, %")
    axes.set_ylabel("reasoning correct, %")
    axes.margins(0.06)
    legend(figure, axes, columns=4)


def _place(rates: Rates) -> tuple[float, float]:
    return 100 * compliance(rates).rate, 100 * reasoning(rates).rate


def _dots(axes: Axes, trials: Sequence[Trial], name: str, marker: str, **look: Any) -> None:
    if trials:
        places = zip(*(_place(trial.rates) for trial in trials), strict=True)
        axes.plot(*places, marker, label=name, **look)


def _mark(
    axes: Axes, rates: Rates, name: str, *, marker: str, color: str, bars: bool = False
) -> None:
    """Draw one point with a ring of its own shape, and its intervals where `bars`."""
    (x, y), reach = _place(rates), (compliance(rates), reasoning(rates))
    axes.errorbar(
        x,
        y,
        xerr=_bar(reach[0]) if bars else None,
        yerr=_bar(reach[1]) if bars else None,
        label=name,
        marker=marker,
        color=color,
        markersize=9,
        markerfacecolor="none",
        markeredgewidth=1.5,
        elinewidth=0.75,
        linestyle="none",
    )


def _bar(figure: RateFigure) -> list[list[float]]:
    return [[100 * (figure.rate - figure.low)], [100 * (figure.high - figure.rate)]]


def _number(axes: Axes, trials: Sequence[Trial]) -> None:
    """Write the trials' numbers beside their points, those of one point together."""
    together: dict[tuple[float, float], list[str]] = {}
    for trial in trials:
        together.setdefault(_place(trial.rates), []).append(str(trial.number))
    for place, numbers in together.items():
        axes.annotate(
            _listed(numbers),
            place,
            xytext=(8, -11),
            textcoords="offset points",
            fontsize=8,
            color=INK,
        )


def _listed(numbers: Sequence[str]) -> str:
    if len(numbers) <= _MOST_NUMBERS:
        return ", ".join(numbers)
    return f"{numbers[0]} … {numbers[-1]}, {len(numbers)} trials"
