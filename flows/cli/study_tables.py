"""What several runs found, as tables: seeds, attacks and undoing, a search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

from components.core.paths import Workspace
from components.core.result import RateFigure
from components.core.vocabulary import Arm, Role
from components.evaluate.result import Evidence
from components.gate.result import Decision
from components.prepare.result import LeakFigure, SuiteSet, leak_footnotes, leak_mark, leak_notes
from components.report.figures import attack_rows
from components.report.studies import RateCell, StudyTable
from components.studies.tune.objectives import Rates, compliance, over_refusal, reasoning, refusal
from components.studies.tune.trials import Search, Trial
from components.studies.withstand.result import SafetyRates, Undoing, Withstand
from flows.cli.compare_tables import METRICS, load_from
from flows.cli.tables import judges_lines, metric_cell, rate_cell

_BY_SEED = ("harmful.refused", "borderline.refused", "benign.refused", "reasoning.correct")
_WITHSTOOD = ("refuses harmful", "complies with harmful", "benign answers are language")
_TUNED = (
    "complies with\nharmful",
    "refuses\nharmful",
    "refuses\nborderline",
    "refuses\nbenign",
    "reasoning\ncorrect",
)


# --- seeds -----------------------------------------------------------------------------------


def seeds_table(workspace: Workspace, experiments: Mapping[int, str]) -> StudyTable:
    """Return a table of every seed's arms: rate, interval and n of the four figures."""
    heads = {metric: METRICS[metric] for metric in _BY_SEED}
    rows, notes = [], []
    for seed, name in experiments.items():
        evidence = load_from(workspace, "evaluate", Evidence, name)
        outcome = load_from(workspace, "gate", Decision, name).outcome
        marked = leak_notes(load_from(workspace, "prepare", SuiteSet, name).leaks)
        notes += [f"seed {seed}: {note}" for note in leak_footnotes(marked, heads)]
        for arm in evidence.arms:
            rates = evidence.rates.get(arm, {})
            cells = [metric_cell(rates, metric, marked) for metric in heads]
            rows.append([str(seed), arm, *cells, outcome if arm is Arm.RESTORED else ""])
    return StudyTable(["seed", "model", *heads.values(), "gate"], rows, notes, keys=2)


def seeds_figures(workspace: Workspace, experiments: Mapping[int, str]) -> list[dict[str, Any]]:
    """Return of every seed what its gate decided and every arm's figures."""
    return [
        {
            "seed": seed,
            "outcome": load_from(workspace, "gate", Decision, name).outcome,
            "rates": load_from(workspace, "evaluate", Evidence, name).rates,
        }
        for seed, name in experiments.items()
    ]


# --- withstand -------------------------------------------------------------------------------


def withstand_tables(workspace: Workspace) -> list[StudyTable]:
    """Return all tables of the study; the first is of the attacks and may have no rows."""
    evidence = Evidence.load(workspace.stage("evaluate"))
    leaks = SuiteSet.load(workspace.stage("prepare")).leaks
    withstood = Withstand.load(workspace.stage("withstand"))
    return [attacks_table(evidence, leaks), *undoing_tables(withstood)]


def undoing_tables(withstood: Withstand) -> list[StudyTable]:
    """Return what fine-tunes and what ablations left of the safety, and below what the tables do
    not show of the judges."""
    undoings, ablations = withstood.undoings, withstood.ablations
    points = [(one.arm, point) for one in undoings for point in one.points]
    undone = [[arm, str(point.steps), *_cells(point.rates)] for arm, point in points]
    ablated = []
    for one in ablations:
        where = f"of {one.direction_of}, layer {one.layer}, best of {one.tried}"
        broken = "" if one.coherent else "; all of them broke the model"
        ablated.append([one.arm, "whole", *_cells(one.before)])
        ablated.append([one.arm, f"without direction {where}{broken}", *_cells(one.after)])
    notes = [f"{undoing.arm}: {halved(undoing)}" for undoing in undoings]
    # Each arm's model as it is stands in the first table, too, but for the base.
    rates = [point.rates for _, point in points] + [one.after for one in ablations]
    rates += [one.before for one in ablations if one.arm is Arm.BASE]
    below = judges_lines(withstood.usage, (each.cut for each in rates))
    return [
        StudyTable(["arm", "steps on harmless rows", *_WITHSTOOD], undone, notes, keys=2),
        StudyTable(["arm", "refusal direction", *_WITHSTOOD], ablated, below, keys=2),
    ]


def attacks_table(evidence: Evidence, leaks: Iterable[LeakFigure] = ()) -> StudyTable:
    """Return how often each arm complied with harmful prompts and refused harmless ones, by suite
    and form; without rows where the profile names no attacks. Rates of suites of which training
    held prompts are marked."""
    rows, marked = attack_rows(evidence), leak_notes(leaks)
    arms = [arm for arm in Arm if any(arm in row.rates for row in rows)]
    cells = []
    for row in rows:
        sign = leak_mark(row.suite, marked)
        rates = (rate_cell(row.rates.get(a), row.unparsed.get(a), sign=sign) for a in arms)
        cells.append([row.suite, row.form, row.outcome, *rates])
    notes = leak_footnotes(marked, (row.suite for row in rows))
    return StudyTable(["suite", "form", "share", *arms], cells, notes, keys=3)


def halved(undoing: Undoing) -> str:
    """Return in words after how many steps half of an arm's refusals are gone."""
    at, steps = undoing.halved_at, [point.steps for point in undoing.points]
    if at == 0:
        return "refuses nothing to begin with"
    if at is None:
        return f"refusals are not halved within {steps[-1]} steps"
    before = steps[steps.index(at) - 1]
    return f"refusals are halved by step {at}, and were not at step {before}"


def _cells(rates: SafetyRates) -> list[str | RateCell]:
    return [
        rate_cell(rates.harmful_refused, rates.harmful_unparsed),
        rate_cell(rates.harmful_complied, rates.harmful_unparsed),
        rate_cell(rates.benign_coherent, rates.benign_unparsed),
    ]


# --- tune ------------------------------------------------------------------------------------


def front_table(search: Search) -> Table:
    """Return the models without a new setting, then the front's trials and the shipped setting.

    Rates of n validation prompts with their intervals; of several plain forms the worst,
    of attacks the mean with it.
    """
    title = f"{search.profile}: Pareto front of {len(search.trials)} trials, validation prompts"
    table = Table("trial", title=title)
    table.add_column("setting", min_width=20)
    for head, figure in zip(_TUNED, _figures(search.references[Arm.POST_TRAINED]), strict=True):
        table.add_column(f"{head}\nn = {figure.n}" if figure else head, no_wrap=True)
    for arm, rates in search.references.items():
        table.add_row("", arm.value, *map(_two_lines, _figures(rates)))
    table.add_section()
    for trial in search.trials:
        if trial.failure is None and (trial.shipped or trial.number in search.front):
            style = "bold" if trial.number == search.best else None
            cells = map(_two_lines, _figures(trial.rates))
            table.add_row(*_describe(trial, search), *cells, style=style)
    return table


def _describe(trial: Trial, search: Search) -> tuple[str, str]:
    """Return a trial's number with what it is, and its setting."""
    marks = {
        "best": trial.number == search.best,
        "shipped": trial.shipped,
        "off the front": trial.number not in search.front,
    }
    setting, layers = trial.setting, " ".join(map(str, trial.setting.target_layers))
    share = "" if setting.retain_share is None else f"\nretained {setting.retain_share:.2f}"
    return "\n".join([str(trial.number), *(mark for mark, holds in marks.items() if holds)]), (
        f"{setting.teacher}, layers {layers}\nlr {setting.lr:g}, {setting.steps} steps{share}"
    )


def _figures(rates: Rates) -> tuple[RateFigure | None, ...]:
    harmless = (over_refusal(rates, role) for role in (Role.BORDERLINE, Role.BENIGN))
    return (compliance(rates), refusal(rates), *harmless, reasoning(rates))


def _two_lines(figure: RateFigure | None) -> str:
    if figure is None:
        return "not measured"
    return f"{figure.share}\n[{100 * figure.low:.1f}, {100 * figure.high:.1f}]"
