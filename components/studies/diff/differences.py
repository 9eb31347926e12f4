"""What two logs say of the same prompts: both sides, their difference, and how sure it is.

The statistics are those of the evaluation (`components/evaluate/statistics.py`), with prompts as
the units.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from components.core.errors import DataError
from components.core.result import Record
from components.evaluate.result import Difference
from components.evaluate.statistics import compare_pairs, paired_bootstrap, rate_of, with_holm
from components.studies.diff.logs import Log, Scored, Value, shown

SEED = 0  # of the bootstrap, so the same logs give the same figures
MOST_LABELS = 10  # different texts that a scorer gives; more are no labels
MOST_RESAMPLED = 20_000  # prompts; the bootstrap draws all of them a thousand times at once

Pair = tuple[tuple[float, ...], tuple[float, ...]]  # the values of one prompt's samples in A and B


class Side(Record):
    """A share, or the mean of a number, in one log, with its interval."""

    value: float
    low: float
    high: float
    samples: int


class Line(Record):
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


class Comparison(Record):
    """Two logs compared by prompt."""

    confidence: float
    seed: int
    a: Source
    b: Source
    lines: tuple[Line, ...]
    left_out: dict[str, int]  # what only one log has, and what cannot be compared
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Metric:
    task: str
    name: str
    pairs: Sequence[Pair]

    @property
    def is_share(self) -> bool:
        return all(value in (0, 1) for pair in self.pairs for side in pair for value in side)


def compare_logs(a: Log, b: Log, *, confidence: float) -> Comparison:
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
            f"the logs share no task: A has {_listed(a.tasks)}, B has {_listed(b.tasks)}; only "
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
        for metric in _metrics(task, _shared(task, a, b, left_out, notes), left_out, notes)
    ]
    if not metrics:
        reasons = "; ".join(notes) or "no sample has a value"
        raise DataError(f"the logs share no metric that can be compared: {reasons}")
    return Comparison(
        confidence=confidence,
        seed=SEED,
        a=_source(a),
        b=_source(b),
        lines=_lines(metrics, confidence),
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


def _listed(names: Sequence[str] | dict[str, dict[str, Scored]]) -> str:
    first = [shown(name) for name in names][:5]
    more = len(names) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")


# --- pairs -----------------------------------------------------------------------------------


def _shared(
    task: str, a: Log, b: Log, left_out: Counter[str], notes: list[str]
) -> list[tuple[Scored, Scored]]:
    """Return what both logs have of a task's prompts, and note what only one has."""
    ours, theirs = a.tasks[task], b.tasks[task]
    shared = [name for name in ours if name in theirs]
    if not shared:
        raise DataError(f"the logs share no prompt of task {shown(task)}; no id is in both")
    if other := [name for name in shared if ours[name].content != theirs[name].content]:
        raise DataError(
            f"the prompt {shown(other[0])} of task {shown(task)} has another content in B, as "
            f"have {len(other) - 1} more of {len(shared)}; the logs are of different data"
        )
    for side, count in (("A", len(ours) - len(shared)), ("B", len(theirs) - len(shared))):
        if count:
            left_out[f"prompts of task {shown(task)} that are only in {side}"] = count
    if changed := sum(ours[name].form != theirs[name].form for name in shared):
        notes.append(
            f"{changed} of {len(shared)} prompts of task {shown(task)} were put in other words "
            "(prompt_hash): with another chat template, or other examples before them"
        )
    return [(ours[name], theirs[name]) for name in shared]


def _metrics(
    task: str,
    shared: Sequence[tuple[Scored, Scored]],
    left_out: Counter[str],
    notes: list[str],
) -> Iterator[_Metric]:
    """Yield a task's metrics with the pairs of both logs' values."""
    names: list[set[str]] = [set(), set()]
    for pair in shared:
        for side, scored in zip(names, pair, strict=True):
            side.update(scored.values)
    for side, only in (("A", names[0] - names[1]), ("B", names[1] - names[0])):
        if only:
            notes.append(f"only {side} has of task {shown(task)}: {_listed(sorted(only))}")
    for name in sorted(names[0] & names[1]):
        what = f"{shown(name)} of task {shown(task)}"
        both = [
            (ours.values[name], theirs.values[name])
            for ours, theirs in shared
            if name in ours.values and name in theirs.values
        ]
        if unpaired := sum(name in one.values for pair in shared for one in pair) - 2 * len(both):
            left_out[f"prompts with {what} in one log only"] = unpaired
        if not both:
            notes.append(f"{what} is in no prompt of both logs")
        elif any(isinstance(value, str) for pair in both for side in pair for value in side):
            yield from _labels(task, name, both, notes)
        elif len(both) > MOST_RESAMPLED and not _Metric(task, name, _paired(both, _plain)).is_share:
            notes.append(f"{what} is left out: a number of more than {MOST_RESAMPLED} prompts")
        else:
            yield _Metric(task, name, _paired(both, _plain))


def _labels(
    task: str,
    name: str,
    both: Sequence[tuple[list[Value], list[Value]]],
    notes: list[str],
) -> Iterator[_Metric]:
    """Yield, for a scorer that gives texts, a share for each text."""
    labels = {value for pair in both for side in pair for value in side}
    texts = sorted(label for label in labels if isinstance(label, str))
    if len(texts) < len(labels) or len(texts) > MOST_LABELS:
        why = "texts and numbers" if len(texts) < len(labels) else f"more than {MOST_LABELS} texts"
        notes.append(f"{shown(name)} of task {shown(task)} is left out: it has {why}")
        return
    for text in texts:
        yield _Metric(task, f"{name}={text}", _paired(both, lambda value, t=text: value == t))


def _paired(
    both: Sequence[tuple[list[Value], list[Value]]], number: Callable[[Value], float]
) -> list[Pair]:
    return [(tuple(map(number, ours)), tuple(map(number, theirs))) for ours, theirs in both]


def _plain(value: Value) -> float:
    return float(value)


# --- figures ---------------------------------------------------------------------------------


def _lines(metrics: Sequence[_Metric], confidence: float) -> tuple[Line, ...]:
    shares = [metric for metric in metrics if metric.is_share]
    found = with_holm([_difference(metric, confidence) for metric in shares])
    by_place = {id(metric): one for metric, one in zip(shares, found, strict=True)}
    return tuple(
        _share_line(metric, by_place[id(metric)], confidence)
        if id(metric) in by_place
        else _number_line(metric, confidence)
        for metric in metrics
    )


def _counts(metric: _Metric) -> list[tuple[tuple[bool, ...], tuple[bool, ...]]]:
    return [(tuple(map(bool, ours)), tuple(map(bool, theirs))) for ours, theirs in metric.pairs]


def _difference(metric: _Metric, confidence: float) -> Difference:
    return compare_pairs("A", "B", metric.name, _counts(metric), confidence)


def _share_line(metric: _Metric, found: Difference, confidence: float) -> Line:
    sides = []
    for own in zip(*_counts(metric), strict=True):
        rate = rate_of(own, confidence)
        side = Side(value=rate.rate, low=rate.low, high=rate.high, samples=rate.samples or rate.n)
        sides.append(side)
    return Line(
        task=metric.task,
        is_share=True,
        a=sides[0],
        b=sides[1],
        **found.model_dump(exclude={"arm", "against"}),
    )


def _number_line(metric: _Metric, confidence: float) -> Line:
    ours, theirs = ([fmean(values) for values in own] for own in zip(*metric.pairs, strict=True))
    nothing = [0.0] * len(ours)
    sides, samples = [], [sum(map(len, own)) for own in zip(*metric.pairs, strict=True)]
    for own, count in zip((ours, theirs), samples, strict=True):
        value, low, high = _bootstrap(own, nothing, confidence)
        sides.append(Side(value=value, low=low, high=high, samples=count))
    difference, low, high = _bootstrap(ours, theirs, confidence)
    return Line(
        task=metric.task,
        metric=metric.name,
        is_share=False,
        a=sides[0],
        b=sides[1],
        difference=difference,
        low=low,
        high=high,
        n=len(ours),
        gained=sum(one > other for one, other in zip(ours, theirs, strict=True)),
        lost=sum(one < other for one, other in zip(ours, theirs, strict=True)),
        p_value=None,
        p_holm=None,
    )


def _bootstrap(
    ours: Sequence[float], theirs: Sequence[float], confidence: float
) -> tuple[float, float, float]:
    """Return the mean difference and its interval; the widest that the prompts allow where they
    are too few or too alike for the bootstrap."""
    with warnings.catch_warnings(action="ignore"):  # of scipy, where it has no interval
        mean, low, high = paired_bootstrap(ours, theirs, confidence=confidence, seed=SEED)
    if math.isfinite(low) and math.isfinite(high):
        return mean, low, high
    gaps = [one - other for one, other in zip(ours, theirs, strict=True)]
    return mean, min(gaps), max(gaps)
