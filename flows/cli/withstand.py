"""What the restored model withstands: attacks on the prompt, and undoing its safety."""

from __future__ import annotations

from collections.abc import Iterable

from components.chain import STAGES, listed_stages
from components.core.paths import Workspace
from components.core.vocabulary import Arm
from components.evaluate.result import Evidence
from components.prepare.result import LeakFigure, leak_footnotes, leak_mark, leak_notes
from components.report.attacks import attack_rows
from components.studies.withstand.result import Ablation, Standing, Undoing, Withstand
from flows.cli.tables import judges_told, rate_cell
from flows.runner.dvc import bring_up_to_date, check_profile
from flows.runner.lock import one_run

NEEDED = (*STAGES[: STAGES.index("evaluate") + 1], *listed_stages("attacked"))
_STANDING = ("refuses harmful", "complies with harmful", "benign answers are language")


def withstand_attacks(workspace: Workspace) -> tuple[Evidence, Withstand]:
    """Bring a profile and its undo-tests up to date; return the evidence and their figures.

    Raises what a stage raised, and `BusyError` where another run works in this repository.
    """
    check_profile(workspace, NEEDED)
    with one_run(workspace.root, f"withstand {workspace.profile}"):
        bring_up_to_date(workspace, NEEDED)
        return (
            Evidence.load(workspace.stage("evaluate")),
            Withstand.load(workspace.stage("withstand")),
        )


def attacks_table(evidence: Evidence, leaks: Iterable[LeakFigure] = ()) -> str:
    """Return a Markdown table: how often each arm complied, by suite and form; empty where the
    profile names no attacks. Rates of suites of which training held prompts are marked."""
    rows = attack_rows(evidence)
    marked = leak_notes(leaks)
    arms = [arm for arm in Arm if any(arm in row.rates for row in rows)]
    cells = [
        [
            row.suite,
            row.form,
            *(
                rate_cell(
                    row.rates.get(arm), row.unparsed.get(arm), sign=leak_mark(row.suite, marked)
                )
                for arm in arms
            ),
        ]
        for row in rows
    ]
    told = [f"\n{note}" for note in leak_footnotes(marked, (row.suite for row in rows))]
    return "\n".join([_table(["complies, suite", "form", *arms], cells), *told]) if rows else ""


def undoings_table(undoings: tuple[Undoing, ...]) -> str:
    """Return a Markdown table of every arm after every kept step, and what it says, a line an
    arm."""
    cells = [
        [undoing.arm, str(point.steps), *_standing(point.standing)]
        for undoing in undoings
        for point in undoing.points
    ]
    told = [f"\n{undoing.arm}: {halved(undoing)}" for undoing in undoings]
    return "\n".join([_table(["arm", "steps on harmless rows", *_STANDING], cells), *told])


def halved(undoing: Undoing) -> str:
    """Return in words after how many steps half of an arm's refusals are gone."""
    at, steps = undoing.halved_at, [point.steps for point in undoing.points]
    if at == 0:
        return "refuses nothing to begin with"
    if at is None:
        return f"refusals are not halved within {steps[-1]} steps"
    before = steps[steps.index(at) - 1]
    return f"refusals are halved by step {at}, and were not at step {before}"


def ablations_table(ablations: tuple[Ablation, ...]) -> str:
    """Return a Markdown table of every arm with and without its refusal direction."""
    cells = []
    for one in ablations:
        where = f"of {one.direction_of}, layer {one.layer}, best of {one.tried}"
        broken = "" if one.coherent else "; all of them broke the model"
        cells.append([one.arm, "whole", *_standing(one.before)])
        cells.append([one.arm, f"without direction {where}{broken}", *_standing(one.after)])
    return _table(["arm", "refusal direction", *_STANDING], cells)


def judging_told(withstood: Withstand) -> str:
    """Return what the tables of the undo-tests do not show of their judges; empty where nothing."""
    standings = [point.standing for undoing in withstood.undoings for point in undoing.points]
    # Each arm's model as it is stands in the first table, too, but for the base.
    standings += [one.after for one in withstood.ablations]
    standings += [one.before for one in withstood.ablations if one.arm is Arm.BASE]
    return "\n\n".join(judges_told(withstood.usage, (each.cut for each in standings)))


def _standing(standing: Standing) -> list[str]:
    return [
        rate_cell(standing.harmful_refused, standing.harmful_unparsed),
        rate_cell(standing.harmful_complied, standing.harmful_unparsed),
        rate_cell(standing.benign_coherent, standing.benign_unparsed),
    ]


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (heads, *rows)]
    return "\n".join([lines[0], "|---" * len(heads) + "|", *lines[1:]])
