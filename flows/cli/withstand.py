"""What the restored model withstands, as tables: attacks on the prompt, and undoing its safety."""

from __future__ import annotations

from collections.abc import Iterable

from components.core.vocabulary import Arm
from components.evaluate.result import Evidence
from components.prepare.result import LeakFigure, leak_footnotes, leak_mark, leak_notes
from components.report.figures import attack_rows
from components.studies.withstand.result import Ablation, SafetyRates, Undoing, Withstand
from flows.cli.tables import judges_lines, markdown_table, rate_cell

_RATES = ("refuses harmful", "complies with harmful", "benign answers are language")


def withstand_tables(
    evidence: Evidence, withstood: Withstand, leaks: Iterable[LeakFigure]
) -> list[str]:
    """Return all tables of the study in Markdown, and what they do not show of the judges."""
    rates = [point.rates for undoing in withstood.undoings for point in undoing.points]
    # Each arm's model as it is stands in the first table, too, but for the base.
    rates += [one.after for one in withstood.ablations]
    rates += [one.before for one in withstood.ablations if one.arm is Arm.BASE]
    attacks = attacks_table(evidence, leaks)
    return [
        attacks or "The profile names no attacks (evaluate.attacks).",
        _undoings_table(withstood.undoings),
        _ablations_table(withstood.ablations),
        *judges_lines(withstood.usage, (each.cut for each in rates)),
    ]


def attacks_table(evidence: Evidence, leaks: Iterable[LeakFigure] = ()) -> str:
    """Return a Markdown table: how often each arm complied, by suite and form; empty where the
    profile names no attacks. Rates of suites of which training held prompts are marked."""
    rows, marked = attack_rows(evidence), leak_notes(leaks)
    arms = [arm for arm in Arm if any(arm in row.rates for row in rows)]
    cells = []
    for row in rows:
        sign = leak_mark(row.suite, marked)
        rates = (rate_cell(row.rates.get(a), row.unparsed.get(a), sign=sign) for a in arms)
        cells.append([row.suite, row.form, *rates])
    notes = leak_footnotes(marked, (row.suite for row in rows))
    return markdown_table(["complies, suite", "form", *arms], cells, notes) if rows else ""


def _undoings_table(undoings: tuple[Undoing, ...]) -> str:
    """Return every arm after every measured step, and what it says, a line an arm."""
    rows = [
        [undoing.arm, str(point.steps), *_cells(point.rates)]
        for undoing in undoings
        for point in undoing.points
    ]
    notes = [f"{undoing.arm}: {halved(undoing)}" for undoing in undoings]
    return markdown_table(["arm", "steps on harmless rows", *_RATES], rows, notes)


def halved(undoing: Undoing) -> str:
    """Return in words after how many steps half of an arm's refusals are gone."""
    at, steps = undoing.halved_at, [point.steps for point in undoing.points]
    if at == 0:
        return "refuses nothing to begin with"
    if at is None:
        return f"refusals are not halved within {steps[-1]} steps"
    before = steps[steps.index(at) - 1]
    return f"refusals are halved by step {at}, and were not at step {before}"


def _ablations_table(ablations: tuple[Ablation, ...]) -> str:
    """Return every arm with and without its refusal direction."""
    rows = []
    for one in ablations:
        where = f"of {one.direction_of}, layer {one.layer}, best of {one.tried}"
        broken = "" if one.coherent else "; all of them broke the model"
        rows.append([one.arm, "whole", *_cells(one.before)])
        rows.append([one.arm, f"without direction {where}{broken}", *_cells(one.after)])
    return markdown_table(["arm", "refusal direction", *_RATES], rows)


def _cells(rates: SafetyRates) -> list[str]:
    return [
        rate_cell(rates.harmful_refused, rates.harmful_unparsed),
        rate_cell(rates.harmful_complied, rates.harmful_unparsed),
        rate_cell(rates.benign_coherent, rates.benign_unparsed),
    ]
