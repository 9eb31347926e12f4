"""What two logs say of the same prompts: both sides, their difference, and how sure it is.

The statistics are those of the evaluation (`components/evaluate/statistics.py`). Prompts are the
units, and those that ask the same under several ids are one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from components.core.errors import DataError
from components.core.result import Record
from components.evaluate.result import Difference
from components.evaluate.statistics import compare_pairs, mean_interval, rate_of, with_holm
from components.studies.diff.logs import Log, shown
from components.studies.diff.pairs import PairedMetric, listed, metrics_of, shared_prompts


class Side(Record):
    """A share, or the mean of a number, in one log, with its interval."""

    value: float
    low: float
    high: float
    samples: int


class MetricDiff(Record):
    """One metric of one task in both logs, on the prompts that both have."""

    task: str
    metric: str
    is_share: bool  # every value is 0 or 1; else it is a number, and `value` its mean over prompts
    a: Side
    b: Side
    difference: float  # a - b
    low: float
    high: float
    n: int  # prompts
    gained: int  # prompts where A has more
    lost: int  # prompts where B has more
    p_value: float | None  # exact McNemar, two-sided; None for numbers
    p_holm: float | None  # the same, adjusted over all lines


class Source(Record):
    """One of the logs."""

    path: str
    harness: str
    prompts: dict[str, int]  # by task
    left_out: dict[str, int]
    notes: tuple[str, ...]


class LogDiff(Record):
    """Two logs compared by prompt."""

    confidence: float
    a: Source
    b: Source
    lines: tuple[MetricDiff, ...]
    left_out: dict[str, int]  # what only one log has, and what cannot be compared
    notes: tuple[str, ...]


def compare_logs(a: Log, b: Log, *, confidence: float) -> LogDiff:
    """Return the differences A - B of every metric that both logs have, task by task.

    Raises `DataError` for logs of two harnesses, without a shared task, prompt or metric, and for a
    prompt that has another content in B.
    """
    if a.harness != b.harness:
        raise DataError(
            f"A is of {a.harness} and B of {b.harness}; their prompts cannot be paired, so give "
            "two logs of one harness"
        )
    tasks = [task for task in a.tasks if task in b.tasks]
    if not tasks:
        raise DataError(
            f"the logs share no task: A has {listed(a.tasks)}, B has {listed(b.tasks)}; only "
            "tasks of the same name are compared"
        )
    left_out: Counter[str] = Counter()
    notes = [
        f"task {shown(task)} is only in {side}"
        for side, own, other in (("A", a, b), ("B", b, a))
        for task in own.tasks
        if task not in other.tasks
    ]
    metrics = [
        metric
        for task in tasks
        for metric in metrics_of(task, shared_prompts(task, a, b, left_out, notes), left_out, notes)
    ]
    if not metrics:
        reasons = "; ".join(notes[:5]) or "no sample has a value"
        raise DataError(f"the logs share no metric that can be compared: {reasons}")
    lines = _lines(metrics, confidence)
    notes += [
        f"{shown(line.metric)} of task {shown(line.task)} differs by the same in each of "
        f"{line.n} prompts: its interval has no width and says nothing of others"
        for line in lines
        if not line.is_share and math.isclose(line.low, line.high, rel_tol=1e-9)
    ]
    return LogDiff(
        confidence=confidence,
        a=_source(a),
        b=_source(b),
        lines=lines,
        left_out=dict(left_out),
        notes=tuple(notes),
    )


def _source(log: Log) -> Source:
    return Source(
        path=str(log.path),
        harness=log.harness,
        prompts={task: len(prompts) for task, prompts in log.tasks.items()},
        left_out=dict(log.left_out),
        notes=tuple(log.notes),
    )


def _lines(metrics: Sequence[PairedMetric], confidence: float) -> tuple[MetricDiff, ...]:
    shares = [metric for metric in metrics if metric.is_share]
    found = with_holm([_difference(metric, confidence) for metric in shares])
    by_place = {id(metric): one for metric, one in zip(shares, found, strict=True)}
    return tuple(
        _share_line(metric, by_place[id(metric)], confidence)
        if id(metric) in by_place
        else _number_line(metric, confidence)
        for metric in metrics
    )


def _counts(metric: PairedMetric) -> list[tuple[tuple[bool, ...], tuple[bool, ...]]]:
    return [(tuple(map(bool, ours)), tuple(map(bool, theirs))) for ours, theirs in metric.pairs]


def _difference(metric: PairedMetric, confidence: float) -> Difference:
    return compare_pairs("A", "B", metric.name, _counts(metric), confidence, metric.contents)


def _share_line(metric: PairedMetric, found: Difference, confidence: float) -> MetricDiff:
    sides = []
    for own in zip(*_counts(metric), strict=True):
        rate = rate_of(own, confidence, metric.contents)
        side = Side(value=rate.rate, low=rate.low, high=rate.high, samples=rate.samples or rate.n)
        sides.append(side)
    return MetricDiff(
        task=metric.task,
        is_share=True,
        a=sides[0],
        b=sides[1],
        **found.model_dump(include=set(MetricDiff.model_fields)),
    )


def _number_line(metric: PairedMetric, confidence: float) -> MetricDiff:
    ours, theirs = ([fmean(values) for values in own] for own in zip(*metric.pairs, strict=True))
    sides, samples = [], [sum(map(len, own)) for own in zip(*metric.pairs, strict=True)]
    for own, count in zip((ours, theirs), samples, strict=True):
        value, low, high = mean_interval(own, confidence, metric.contents)
        sides.append(Side(value=value, low=low, high=high, samples=count))
    gaps = [one - other for one, other in zip(ours, theirs, strict=True)]
    difference, low, high = mean_interval(gaps, confidence, metric.contents)
    return MetricDiff(
        task=metric.task,
        metric=metric.name,
        is_share=False,
        a=sides[0],
        b=sides[1],
        difference=difference,
        low=low,
        high=high,
        n=len(ours),
        gained=sum(gap > 0 for gap in gaps),
        lost=sum(gap < 0 for gap in gaps),
        p_value=None,
        p_holm=None,
    )
