"""What `safereact compare` found, as tables: every arm with its costs, and every attack."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, Self, TypeVar

from components.core.metric_names import Metric, in_order
from components.core.paths import Workspace
from components.core.result import RateFigure, Result
from components.core.storage import write_text
from components.core.vocabulary import PLAIN_FORMS, Arm, Outcome, Role, View
from components.prepare.result import SuiteSet, leak_footnotes, leak_notes
from components.probe.result import Probe
from components.report.studies import RateCell, StudyTable
from components.studies.baselines.result import Baselines
from components.studies.baselines.settings import split_name
from components.studies.compare.result import Comparison, Pooled, Spread
from components.train.result import Adapter
from flows.cli.records import PartCost, read_record
from flows.cli.tables import judges_lines, metric_cell

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
COMPARISON_PAGE = "comparison.md"
_COSTS = ("steps", "seconds", "tokens", "peak MiB, host")
# A result holds no times: they are in the run record of the machine that did the work.
_UNTIMED = (
    "Where seconds and memory are empty, the result came from DVC's cache and no training was "
    "measured here."
)


R = TypeVar("R", bound=Result)


class Cost(NamedTuple):
    """What one training took, or the mean of several; seconds and MiB are None where they were not
    measured here."""

    steps: float
    seconds: float | None
    tokens: float
    memory: float | None

    @classmethod
    def mean(cls, costs: Sequence[Self]) -> Self:
        """Return the mean of those that were measured."""
        known = ([one for one in each if one is not None] for each in zip(*costs, strict=True))
        means: list[Any] = [fmean(each) if each else None for each in known]
        return cls(*means)

    def cells(self) -> list[str]:
        """Return it as cells of a table."""
        seconds, memory = ("" if m is None else f"{m:.0f}" for m in (self.seconds, self.memory))
        return [f"{self.steps:.0f}", seconds, f"{self.tokens:,.0f}", memory]


class Found(NamedTuple):
    """What one comparison found, and what it rests on."""

    comparison: Comparison
    baselines: Baselines
    adapter: Adapter
    probe: Probe
    prompts: SuiteSet
    parts: Mapping[str, PartCost]  # part of a run -> what it took

    @classmethod
    def here(cls, workspace: Workspace) -> Self:
        """Return the results in the workspace."""
        results = (kind.load(workspace.stage(stage)) for stage, kind in _KINDS.items())
        return cls(*[*results, measured_parts(workspace.runs)])

    @classmethod
    def of(cls, workspace: Workspace, experiment: str, runs: Path) -> Self:
        """Return the results of an experiment whose records lie in `runs`."""
        results = (load_from(workspace, *kind, experiment) for kind in _KINDS.items())
        return cls(*[*results, measured_parts(runs)])


_KINDS: dict[str, Any] = {
    "compare": Comparison,
    "baselines": Baselines,
    "train": Adapter,
    "probe": Probe,
    "prepare": SuiteSet,
}


def load_from(workspace: Workspace, stage: str, kind: type[R], experiment: str) -> R:
    """Return a stage's result of an experiment."""
    return kind.model_validate_json(read_from(workspace, stage, kind.FILE, experiment))


def read_from(workspace: Workspace, stage: str, file: str, experiment: str) -> bytes:
    """Return a file of a stage's in an experiment."""
    import dvc.api

    path = (workspace.stage(stage) / file).relative_to(workspace.root).as_posix()
    return bytes(dvc.api.read(path, repo=str(workspace.root), rev=experiment, mode="rb"))


def comparison_tables(found: Found) -> list[StudyTable]:
    """Return the tables of one comparison."""
    table = _methods_table([found], Pooled(found.comparison, {}))
    return [table, *_families(found.comparison)]


def seeds_tables(found: Mapping[int, Found], pooled: Pooled) -> list[StudyTable]:
    """Return the tables of the comparisons of several seeds, with their pooled figures."""
    note = (
        f"Pooled over the seeds {', '.join(map(str, found))}, whose lowest and highest rate stand "
        "behind n, the number of prompts. In the intervals the answers of all seeds to a prompt "
        "are its samples; how far seeds lie apart shows what chance in training does."
    )
    table = _methods_table(list(found.values()), pooled, [note])
    return [table, *_families(pooled.comparison)]


def write_comparison(folder: Path, tables: Iterable[StudyTable]) -> None:
    """Write a comparison's tables in Markdown."""
    written = (table.markdown() + "\n" for table in tables)
    write_text(folder / COMPARISON_PAGE, "\n".join(written))


def _methods_table(found: Sequence[Found], pooled: Pooled, notes: Sequence[str] = ()) -> StudyTable:
    """Return a table: a row an arm, its rates with interval and n, and what it cost.

    Of several seeds rates are pooled and costs are means.
    """
    comparison, spreads = pooled
    marked = leak_notes([leak for each in found for leak in each.prompts.leaks])
    failed = {arm: why for each in found for arm, why in _failed(each).items()}
    costs, heads = _costs(found), columns(comparison)
    rows = []
    for arm in comparison.arms:
        rates, spread = comparison.rates[arm], spreads.get(arm, {})
        cells = [_cell(rates, metrics, marked, spread) for metrics in heads.values()]
        cost = Cost.mean(costs[arm]).cells() if arm in costs else [""] * len(_COSTS)
        rows.append([_name(arm, comparison, failed), *cells, *cost])
    cut = (figure for arms in comparison.cut.values() for figure in arms.values())
    plain = {metrics[0]: head for head, metrics in heads.items() if len(metrics) == 1}
    below = [
        *notes,
        *(f"{arm}: left out, {why}" for arm, why in comparison.left_out.items()),
        *(f"{arm}: its teacher did not pass probe.check: {why}" for arm, why in failed.items()),
        *([_UNTIMED] if any(None in Cost.mean(every) for every in costs.values()) else []),
        *_partly_timed(costs),
        *leak_footnotes(marked, plain),
        *judges_lines(comparison.usage, cut),
    ]
    return StudyTable(["arm", *heads, *_COSTS], rows, below)


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
    rates: Mapping[str, RateFigure],
    metrics: Sequence[str],
    marked: Mapping[str, Any],
    spread: Spread,
) -> str | RateCell:
    """Return a rate as a cell; of several attacks the worst, named."""
    there = [metric for metric in metrics if metric in rates]
    if not there or Metric.parse(metrics[0]).form in PLAIN_FORMS:
        return _with(metric_cell(rates, metrics[0], marked), _apart(spread, metrics[0]))
    harmful = Metric.parse(there[0]).suite == Role.HARMFUL
    worst = (min if harmful else max)(there, key=lambda metric: rates[metric].rate)
    found = Metric.parse(worst)
    named = found.form if harmful else f"{found.suite}, {found.form}"
    return _with(metric_cell(rates, worst, marked), (*_apart(spread, worst), f" ({named})"))


def _with(cell: str | RateCell, more: Sequence[str]) -> str | RateCell:
    return cell if isinstance(cell, str) else cell._replace(more=(*cell.more, *more))


def _apart(spread: Spread, metric: str) -> Sequence[str]:
    if metric not in spread:
        return ()
    low, high = spread[metric]
    return (f", seeds {100 * low:.1f} to {100 * high:.1f}",)


def _families(comparison: Comparison) -> list[StudyTable]:
    """Return a table of what each arm refuses under every attack; none where the profile names no
    attacks."""
    names = {metric for rates in comparison.rates.values() for metric in rates}
    wrapped = [
        metric
        for metric in map(Metric.parse, in_order(names))
        if metric.form not in PLAIN_FORMS
        and metric.view is View.ANSWER
        and metric.measure == Outcome.REFUSED
    ]
    trained = comparison.trained_attacks
    heads = [f"{m.suite}, {m.form}{', held out' * (m.form not in trained)}" for m in wrapped]
    rows = [
        [arm, *(metric_cell(comparison.rates[arm], str(metric)) for metric in wrapped)]
        for arm in comparison.arms
    ]
    return [StudyTable(["refused under attacks", *heads], rows)] if wrapped else []


def _failed(found: Found) -> dict[str, str]:
    """Return why the teachers of arms did not pass their check, by arm."""
    reasons = {one.teacher: one.reason for one in found.probe.teachers if not one.passed}
    taught = {line.arm: split_name(line.arm)[1] for line in found.baselines.arms if line.digest}
    return {arm: reasons[teacher] for arm, teacher in taught.items() if teacher in reasons}


def _name(arm: str, comparison: Comparison, failed: Mapping[str, str]) -> str:
    if arm == Arm.RESTORED:
        return f"restored ({comparison.method}-{comparison.teacher})"
    return f"{arm} (teacher failed its check)" if arm in failed else arm


def mean_costs(found: Sequence[Found]) -> dict[str, Cost]:
    """Return what every training took, by arm: the mean of those that were measured."""
    return {arm: Cost.mean(costs) for arm, costs in _costs(found).items()}


def _partly_timed(costs: Mapping[str, Sequence[Cost]]) -> Iterator[str]:
    """Yield of which arms some seeds were measured here, and others not."""
    for arm, every in costs.items():
        timed = sum(cost.seconds is not None for cost in every)
        if 0 < timed < len(every):
            yield (
                f"{arm}: seconds and memory are of {timed} of {len(every)} seeds; the others "
                "came from DVC's cache."
            )


def _costs(found: Iterable[Found]) -> dict[str, list[Cost]]:
    """Return what each training of every arm took."""
    costs: dict[str, list[Cost]] = defaultdict(list)
    for each in found:
        adapter, lines = each.adapter, [line for line in each.baselines.arms if line.digest]
        trained = {
            Arm.RESTORED.value: (adapter.steps, adapter.tokens),
            Arm.BASELINE.value: (adapter.baseline_steps, adapter.baseline_tokens),
            **{line.arm: (line.steps, line.tokens) for line in lines},
        }
        for arm, (steps, tokens) in trained.items():
            seconds, memory = None, None
            if part := each.parts.get(arm):
                seconds, memory = part["seconds"], part["peak_memory_mib"]
            costs[arm].append(Cost(steps, seconds, tokens, memory))
    return costs


def measured_parts(runs: Path) -> dict[str, PartCost]:
    """Return what the parts of trainings took where they last ran, by part."""
    records = (read_record(runs / f"{stage}.json") for stage in ("train", "baselines"))
    return {name: cost for record in records if record for name, cost in record["parts"].items()}
