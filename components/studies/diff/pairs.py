"""What two logs have of the same prompts, metric by metric, and what only one has."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import eq

from components.core.errors import DataError
from components.studies.diff.logs import MOST_METRICS, Log, Scored, Value, shown

MOST_LABELS = 10  # different texts that a scorer gives; more are no labels
# A text with a blank in it may be part of a completion, which is not to be shown.
_LABEL = re.compile(r"[^\s]{1,32}\Z")

Pair = tuple[tuple[float, ...], tuple[float, ...]]  # the values of one prompt's samples in A and B
_Both = tuple[list[Value], list[Value]]


@dataclass(frozen=True, slots=True)
class PairedMetric:
    """A metric of a task, with what both logs have of every prompt."""

    task: str
    name: str
    pairs: Sequence[Pair]
    contents: Sequence[str]  # of each prompt the digest of what was asked; equal ones count as one

    @property
    def is_share(self) -> bool:
        """Whether every value is 0 or 1."""
        return all(value in (0, 1) for pair in self.pairs for side in pair for value in side)


def shared_prompts(
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
    if (distinct := len({ours[name].content for name in shared})) < len(shared):
        notes.append(
            f"{len(shared)} prompts of task {shown(task)} count as {distinct} in intervals and "
            "tests: the others ask the same under another id"
        )
    return [(ours[name], theirs[name]) for name in shared]


def metrics_of(
    task: str,
    shared: Sequence[tuple[Scored, Scored]],
    left_out: Counter[str],
    notes: list[str],
) -> Iterator[PairedMetric]:
    """Yield a task's metrics with the pairs of both logs' values."""
    names: list[set[str]] = [set(), set()]
    for pair in shared:
        for known, scored in zip(names, pair, strict=True):
            known.update(scored.values)
    if max(map(len, names)) > MOST_METRICS:
        raise DataError(f"a log has more than {MOST_METRICS} metrics of task {shown(task)}")
    for side, only in (("A", names[0] - names[1]), ("B", names[1] - names[0])):
        if only:
            notes.append(f"only {side} has of task {shown(task)}: {listed(sorted(only))}")
    for name in sorted(names[0] & names[1]):
        what = f"{shown(name)} of task {shown(task)}"
        measured = [pair for pair in shared if all(name in one.values for one in pair)]
        both = [(ours.values[name], theirs.values[name]) for ours, theirs in measured]
        contents = [ours.content for ours, _ in measured]
        if unpaired := sum(name in one.values for pair in shared for one in pair) - 2 * len(both):
            left_out[f"prompts with {what} in one log only"] = unpaired
        if not both:
            notes.append(f"{what} is in no prompt of both logs")
        elif any(isinstance(value, str) for pair in both for side in pair for value in side):
            yield from _labels(task, name, both, contents, notes)
        else:
            yield PairedMetric(task, name, _paired(both, _plain), contents)


def _labels(
    task: str,
    name: str,
    both: Sequence[_Both],
    contents: Sequence[str],
    notes: list[str],
) -> Iterator[PairedMetric]:
    """Yield, for a scorer that gives labels, a share for each."""
    labels = {value for pair in both for side in pair for value in side}
    texts = sorted(label for label in labels if isinstance(label, str))
    if len(texts) < len(labels) or len(texts) > MOST_LABELS or not all(map(_LABEL.match, texts)):
        what = f"{shown(name)} of task {shown(task)}"
        notes.append(f"{what} is left out: its texts are no labels, or stand beside numbers")
        return
    for text in texts:
        yield PairedMetric(task, f"{name}={text}", _paired(both, partial(eq, text)), contents)


def _paired(both: Sequence[_Both], number: Callable[[Value], float]) -> list[Pair]:
    return [(tuple(map(number, ours)), tuple(map(number, theirs))) for ours, theirs in both]


def _plain(value: Value) -> float:
    return float(value)


def listed(names: Collection[str]) -> str:
    """Return the first names in a row, and how many more there are."""
    first = [shown(name) for name in names][:5]
    more = len(names) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")
