"""Other methods beside the adapter, in the same harness, and all their figures as one table."""

from __future__ import annotations

from typing import Any

from components.records import AnyArm, Arm, Method
from components.repeats import footnotes, repeats
from components.results import Adapter, Baselines, Comparison, SuiteSet
from components.storage import read_json
from components.workspace import STAGES, STUDIES_OF, Workspace
from flows.lock import one_run
from flows.pipeline import bring_up_to_date, check_profile
from flows.screen import judges_told, metric_cell

NEEDED = (*STAGES[: STAGES.index("evaluate") + 1], *STUDIES_OF["compared"])
METRICS = {
    "harmful.refused": "refuses harmful",
    # In the thought or in the answer: a thought that the token limit cuts off has no answer.
    "harmful.either.complied": "complies with harmful",
    "harmful.forced.refused": "refuses harmful, thought forced",
    "harmful.forced.either.complied": "complies, thought forced",
    "borderline.refused": "refuses borderline",
    "benign.refused": "refuses benign",
    "reasoning.correct": "reasoning correct",
}


def compare_methods(workspace: Workspace) -> Comparison:
    """Bring a profile and its studies up to date; return the comparison.

    Raises what a stage raised, and `BusyError` where another run works in this repository.
    """
    check_profile(workspace, NEEDED)
    with one_run(workspace.root, f"compare {workspace.profile}"):
        bring_up_to_date(workspace, NEEDED)
        return Comparison.load(workspace.stage("compare"))


def methods_table(workspace: Workspace, comparison: Comparison) -> str:
    """Return a Markdown table: a row a method, its rates with interval and n, and what it cost."""
    measured = {metric for rates in comparison.rates.values() for metric in rates}
    shown = {metric: told for metric, told in METRICS.items() if metric in measured}
    heads = ["method", *shown.values(), "seconds", "tokens", "peak MiB"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    costs = _costs(workspace)
    marked = repeats(SuiteSet.load(workspace.stage("prepare")).leaks)
    for arm in (*Arm, *Method):
        if arm in comparison.rates:
            rates = comparison.rates[arm]
            cells = [metric_cell(rates, metric, marked) for metric in shown]
            told = [_name(arm, comparison), *cells, *costs.get(arm.value, ("", "", ""))]
            lines.append("| " + " | ".join(told) + " |")
    lines += [f"\n{method}: left out, {why}" for method, why in comparison.left_out.items()]
    lines += [f"\n{told}" for told in footnotes(marked, shown)]
    cut = (figure for arms in comparison.cut.values() for figure in arms.values())
    lines += [f"\n{told}" for told in judges_told(comparison.usage, cut)]
    return "\n".join(lines)


def _name(arm: AnyArm, comparison: Comparison) -> str:
    return f"restored (safereact-{comparison.teacher})" if arm is Arm.RESTORED else arm.value


def _costs(workspace: Workspace) -> dict[str, tuple[str, str, str]]:
    """Return seconds, tokens and peak memory of every training, by method.

    Seconds and memory are empty where the stage's result came from DVC's cache.
    """
    adapter = Adapter.load(workspace.stage("train"))
    tokens = {Arm.RESTORED.value: adapter.tokens, Arm.BASELINE.value: adapter.baseline_tokens}
    lines = Baselines.load(workspace.stage("baselines")).methods
    tokens |= {line.method.value: line.tokens for line in lines if line.digest}
    measured: dict[str, Any] = {}
    for stage in ("train", "baselines"):
        path = workspace.run_record(stage)
        measured |= read_json(path)["parts"] if path.is_file() else {}
    return {
        name: (
            f"{cost['seconds']:.0f}" if (cost := measured.get(name)) else "",
            f"{count:,}",
            f"{cost['peak_memory_mib']:.0f}" if cost else "",
        )
        for name, count in tokens.items()
    }
