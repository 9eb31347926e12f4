"""A search's Pareto front as a table."""

from __future__ import annotations

from rich.table import Table

from components.core.result import RateFigure
from components.core.vocabulary import Arm, Role
from components.studies.tune.objectives import Rates, compliance, over_refusal, reasoning, refusal
from components.studies.tune.trials import Search, Trial

_HEADS = (
    "complies with\nharmful",
    "refuses\nharmful",
    "refuses\nborderline",
    "refuses\nbenign",
    "reasoning\ncorrect",
)


def front_table(search: Search) -> Table:
    """Return the models without a new setting, then the front's trials and the shipped setting.

    Rates of n validation prompts with their intervals; of several prompt forms the worst.
    """
    title = f"{search.profile}: Pareto front of {len(search.trials)} trials, validation prompts"
    table = Table("trial", title=title)
    table.add_column("setting", min_width=20)
    for head, figure in zip(_HEADS, _figures(search.references[Arm.POST_TRAINED]), strict=True):
        table.add_column(f"{head}\nn = {figure.n}" if figure else head, no_wrap=True)
    for arm, rates in search.references.items():
        table.add_row("", arm.value, *map(_cell, _figures(rates)))
    table.add_section()
    for trial in search.trials:
        if trial.failure is None and (trial.shipped or trial.number in search.front):
            style = "bold" if trial.number == search.best else None
            cells = map(_cell, _figures(trial.rates))
            table.add_row(_title(trial, search), _describe(trial), *cells, style=style)
    return table


def _title(trial: Trial, search: Search) -> str:
    marks = {
        "best": trial.number == search.best,
        "shipped": trial.shipped,
        "off the front": trial.number not in search.front,
    }
    return "\n".join([str(trial.number), *(mark for mark, holds in marks.items() if holds)])


def _describe(trial: Trial) -> str:
    setting = trial.setting
    layers = " ".join(str(layer) for layer in setting.target_layers)
    return (
        f"{setting.teacher}, layers {layers}\nlr {setting.lr:g}, {setting.steps} steps\n"
        f"retained {setting.retain_share:.2f}"
    )


def _figures(rates: Rates) -> tuple[RateFigure | None, ...]:
    return (
        compliance(rates),
        refusal(rates),
        over_refusal(rates, Role.BORDERLINE),
        over_refusal(rates, Role.BENIGN),
        reasoning(rates),
    )


def _cell(figure: RateFigure | None) -> str:
    if figure is None:
        return "not measured"
    return f"{figure.rate:.1%}\n[{100 * figure.low:.1f}, {100 * figure.high:.1f}]"
