"""What `safereact compare` found, as tables: every arm with its costs, and every attack."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from components.core.metric_names import Metric, in_order
from components.core.paths import Workspace
from components.core.result import RateFigure
from components.core.storage import read_json
from components.core.vocabulary import PLAIN_FORMS, Arm, Outcome, Role, View
from components.prepare.result import SuiteSet, leak_footnotes, leak_notes
from components.probe.result import Probe
from components.studies.baselines.result import Baselines
from components.studies.baselines.settings import split_name
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
# Of several attacks the worst, which stands in the cell.
TRAINED = "refuses harmful, worst attack trained on"
HELD_OUT = "refuses harmful, worst held-out attack"
WRAPPED = "refuses harmless, worst attack"
_COSTS = ("steps", "seconds", "tokens", "peak MiB, host")
# A result holds no times: they are in the run record of the machine that did the work.
_UNTIMED = (
    "Where seconds and memory are empty, the result came from DVC's cache and no training was "
    "measured here."
)


class Cost(NamedTuple):
    """What one training took; seconds and memory are empty where they were not measured here."""

    steps: str
    seconds: str
    tokens: str
    memory: str


def comparison_tables(workspace: Workspace) -> list[str]:
    """Return the tables of one comparison in Markdown."""
    comparison = Comparison.load(workspace.stage("compare"))
    return [methods_table(workspace), *([attacked] if (attacked := families(comparison)) else [])]


def methods_table(workspace: Workspace) -> str:
    """Return a Markdown table: a row an arm, its rates with interval and n, and what it cost."""
    comparison = Comparison.load(workspace.stage("compare"))
    marked = leak_notes(SuiteSet.load(workspace.stage("prepare")).leaks)
    heads, failed, costs = columns(comparison), _failed(workspace), _costs(workspace)
    rows = []
    for arm in comparison.arms:
        cells = [_cell(comparison.rates[arm], metrics, marked) for metrics in heads.values()]
        rows.append([_name(arm, comparison, failed), *cells, *costs.get(arm, ("",) * len(_COSTS))])
    cut = (figure for arms in comparison.cut.values() for figure in arms.values())
    plain = {metrics[0]: head for head, metrics in heads.items() if len(metrics) == 1}
    notes = [
        *(f"{arm}: left out, {why}" for arm, why in comparison.left_out.items()),
        *(f"{arm}: its teacher did not pass probe.check: {why}" for arm, why in failed.items()),
        *([_UNTIMED] if any("" in cost for cost in costs.values()) else []),
        *leak_footnotes(marked, plain),
        *judges_lines(comparison.usage, cut),
    ]
    return markdown_table(["arm", *heads, *_COSTS], rows, notes)


def columns(comparison: Comparison) -> dict[str, Sequence[str]]:
    """Return the metrics that each column of rates shows, those that somebody has; of several the
    worst is shown."""
    measured = {metric for rates in comparison.rates.values() for metric in rates}
    refused = Outcome.REFUSED.value
    trained, held = comparison.trained_attacks, comparison.held_out_attacks
    wanted: dict[str, list[str]] = {head: [metric] for metric, head in METRICS.items()}
    wanted |= {
        TRAINED: [str(Metric(Role.HARMFUL, refused, form)) for form in trained],
        HELD_OUT: [str(Metric(Role.HARMFUL, refused, form)) for form in held],
        WRAPPED: [
            str(Metric(role, refused, form))
            for role in (Role.BENIGN, Role.BORDERLINE)
            for form in (*trained, *held)
        ],
    }
    there = {head: [m for m in metrics if m in measured] for head, metrics in wanted.items()}
    return {head: metrics for head, metrics in there.items() if metrics}


def _cell(
    rates: Mapping[str, RateFigure], metrics: Sequence[str], marked: Mapping[str, Any]
) -> str:
    """Return a rate as a cell; of several attacks the worst, named."""
    there = [metric for metric in metrics if metric in rates]
    if not there or Metric.parse(metrics[0]).form in PLAIN_FORMS:
        return metric_cell(rates, metrics[0], marked)
    harmful = Metric.parse(there[0]).suite == Role.HARMFUL
    worst = (min if harmful else max)(there, key=lambda metric: rates[metric].rate)
    found = Metric.parse(worst)
    named = found.form if harmful else f"{found.suite}, {found.form}"
    return f"{metric_cell(rates, worst, marked)} ({named})"


def families(comparison: Comparison) -> str:
    """Return a Markdown table of what each arm refuses under every attack, by suite; empty where
    the profile names no attacks."""
    names = {metric for rates in comparison.rates.values() for metric in rates}
    wrapped = [
        (name, metric)
        for name, metric in ((name, Metric.parse(name)) for name in in_order(names))
        if metric.form not in PLAIN_FORMS
        and metric.view is View.ANSWER
        and metric.measure == Outcome.REFUSED
    ]
    rows = [
        [
            metric.suite,
            metric.form,
            "trained on" if metric.form in comparison.trained_attacks else "held out",
            *(metric_cell(comparison.rates[arm], name) for arm in comparison.arms),
        ]
        for name, metric in wrapped
    ]
    heads = ["refused, suite", "attack", "in training", *comparison.arms]
    return markdown_table(heads, rows) if rows else ""


def _failed(workspace: Workspace) -> dict[str, str]:
    """Return why the teachers of arms did not pass their check, by arm."""
    checked = Probe.load(workspace.stage("probe")).teachers
    reasons = {one.teacher: one.reason for one in checked if not one.passed}
    lines = Baselines.load(workspace.stage("baselines")).arms
    taught = {line.arm: split_name(line.arm)[1] for line in lines if line.digest}
    return {arm: reasons[teacher] for arm, teacher in taught.items() if teacher in reasons}


def _name(arm: str, comparison: Comparison, failed: Mapping[str, str]) -> str:
    if arm == Arm.RESTORED:
        return f"restored ({comparison.method}-{comparison.teacher})"
    return f"{arm} (teacher failed its check)" if arm in failed else arm


def _costs(workspace: Workspace) -> dict[str, Cost]:
    """Return what every training took, by arm."""
    adapter = Adapter.load(workspace.stage("train"))
    trained = {
        Arm.RESTORED.value: (str(adapter.steps), adapter.tokens),
        Arm.BASELINE.value: (str(adapter.baseline_steps), adapter.baseline_tokens),
    }
    lines = Baselines.load(workspace.stage("baselines")).arms
    trained |= {line.arm: (str(line.steps), line.tokens) for line in lines if line.digest}
    measured = measured_parts(workspace, ("train", "baselines"))
    costs = {}
    for arm, (steps, tokens) in trained.items():
        cost = measured.get(arm, {})
        seconds, memory = (
            f"{cost[key]:.0f}" if cost else "" for key in ("seconds", "peak_memory_mib")
        )
        costs[arm] = Cost(steps, seconds, f"{tokens:,}", memory)
    return costs


def measured_parts(workspace: Workspace, stages: Iterable[str]) -> dict[str, dict[str, float]]:
    """Return what the parts of stages took where they last ran here, by part."""
    measured: dict[str, dict[str, float]] = {}
    for record in map(workspace.run_record, stages):
        measured |= read_json(record)["parts"] if record.is_file() else {}
    return measured
