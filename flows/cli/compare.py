"""Other methods beside the adapter, in the same harness, and all their figures as one table."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from components.chain import STAGES, listed_stages
from components.core.paths import Workspace
from components.core.storage import read_json
from components.core.vocabulary import AnyArm, Arm, Method
from components.prepare.result import SuiteSet, leak_footnotes, leak_notes
from components.probe.result import Probe
from components.studies.baselines.result import Baselines
from components.studies.compare.result import Comparison
from components.train.result import Adapter
from flows.cli.tables import judges_told, metric_cell
from flows.runner.dvc import bring_up_to_date, check_profile
from flows.runner.lock import one_run

NEEDED = (*STAGES[: STAGES.index("evaluate") + 1], *listed_stages("compared"))
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
    heads = ["method", *shown.values(), "seconds", "tokens", "peak MiB, host"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    costs, failed = _costs(workspace), _failed_teachers(workspace)
    marked = leak_notes(SuiteSet.load(workspace.stage("prepare")).leaks)
    for arm in (*Arm, *Method):
        if arm in comparison.rates:
            rates = comparison.rates[arm]
            cells = [metric_cell(rates, metric, marked) for metric in shown]
            told = [_name(arm, comparison, failed), *cells, *costs.get(arm.value, ("", "", ""))]
            lines.append("| " + " | ".join(told) + " |")
    lines += [f"\n{method}: left out, {why}" for method, why in comparison.left_out.items()]
    lines += [
        f"\n{method}: its teacher did not pass probe.check: {why}"
        for method, why in failed.items()
        if method in comparison.rates
    ]
    if any("" in cost for cost in costs.values()):
        lines.append(f"\n{_UNTIMED}")
    lines += [f"\n{told}" for told in leak_footnotes(marked, shown)]
    cut = (figure for arms in comparison.cut.values() for figure in arms.values())
    lines += [f"\n{told}" for told in judges_told(comparison.usage, cut)]
    return "\n".join(lines)


def _name(arm: AnyArm, comparison: Comparison, failed: Collection[AnyArm]) -> str:
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
