"""All methods beside the adapter, their figures and costs as one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.core.paths import Workspace
from components.core.storage import read_json
from components.core.vocabulary import AnyArm, Arm, Method
from components.prepare.result import SuiteSet, leak_footnotes, leak_notes
from components.probe.result import Probe
from components.studies.baselines.result import Baselines
from components.studies.compare.result import Comparison
from components.train.result import Adapter
from flows.cli.tables import judges_lines, markdown_table, metric_cell

METRICS = {
    "harmful.refused": "refuses harmful",
    # In the thought or in the answer: a thought that the token limit cuts off has no answer.
    "harmful.either.complied": "complies with harmful",
    "harmful.forced_thought.refused": "refuses harmful, thought forced",
    "harmful.forced_thought.either.complied": "complies, thought forced",
    "borderline.refused": "refuses borderline",
    "benign.refused": "refuses benign",
    "reasoning.correct": "reasoning correct",
}
# A result holds no times: they are in the run record of the machine that did the work.
_UNTIMED = (
    "Where seconds and memory are empty, the result came from DVC's cache and no training was "
    "measured here."
)


def methods_table(workspace: Workspace, comparison: Comparison) -> str:
    """Return a Markdown table: a row a method, its rates with interval and n, and what it cost."""
    measured = {metric for rates in comparison.rates.values() for metric in rates}
    heads = {metric: head for metric, head in METRICS.items() if metric in measured}
    marked = leak_notes(SuiteSet.load(workspace.stage("prepare")).leaks)
    costs = _costs(workspace)
    teachers = _failed_teachers(workspace)
    failed = {method: why for method, why in teachers.items() if method in comparison.rates}
    rows = []
    for arm in (*Arm, *Method):
        if arm in comparison.rates:
            cells = [metric_cell(comparison.rates[arm], metric, marked) for metric in heads]
            cost = costs.get(arm.value, ("", "", ""))
            rows.append([_name(arm, comparison, failed), *cells, *cost])
    cut = (figure for arms in comparison.cut.values() for figure in arms.values())
    notes = [
        *(f"{method}: left out, {why}" for method, why in comparison.left_out.items()),
        *(f"{arm}: its teacher did not pass probe.check: {why}" for arm, why in failed.items()),
        *([_UNTIMED] if any("" in cost for cost in costs.values()) else []),
        *leak_footnotes(marked, heads),
        *judges_lines(comparison.usage, cut),
    ]
    names = ["method", *heads.values(), "seconds", "tokens", "peak MiB, host"]
    return markdown_table(names, rows, notes)


def _name(arm: AnyArm, comparison: Comparison, failed: Mapping[Method, str]) -> str:
    if arm is Arm.RESTORED:
        return f"restored (safereact-{comparison.teacher})"
    return f"{arm} (teacher failed its check)" if arm in failed else arm.value


def _failed_teachers(workspace: Workspace) -> dict[Method, str]:
    """Return why the teachers of methods that have one of their own did not pass their check."""
    checked = Probe.load(workspace.stage("probe")).teachers
    return {Method(f"safereact-{one.teacher}"): one.reason for one in checked if not one.passed}


def _costs(workspace: Workspace) -> dict[str, tuple[str, str, str]]:
    """Return seconds, tokens and peak memory of every training, by method.

    Seconds and memory are empty where they were not measured here.
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
