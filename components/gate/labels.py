"""A rule's figure, corrected by the labels of the profile's own completions.

Labels of a suite, drawn whatever was said of them, tell how its judge errs there. A suite without
labels has figures as judged. Where the labels of a suite hold fewer than `LEAST` of one kind, such
as refusals among benign requests, those of all suites with the same judge stand in for that kind: a
refusal is then taken to be found alike whatever was asked. Of what was asked under attacks, labels
of attacked completions count alone, of all attacks together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from components.core.metric_names import Metric
from components.core.vocabulary import PLAIN_FORMS, Outcome
from components.evaluate.result import Evidence
from components.judges.correction import LEAST
from components.judges.result import Accuracy, LabelledCompletions

MOST_LABELS = 10_000  # nobody is told to label more
NONE = Accuracy(positives=0, found=0, negatives=0, mistaken=0)


@dataclass(frozen=True, slots=True)
class Labels:
    """What people said of the completions of an evaluation."""

    labelled: Sequence[LabelledCompletions]
    evidence: Evidence
    needed: bool = False  # the policy asks for them
    second: bool = False  # the evidence is what second judges say

    @property
    def of_second_judge(self) -> Labels:
        """What they say of the second judges' verdicts."""
        return replace(self, evidence=self.evidence.by_second_judge, second=True)

    def accuracy(self, name: str) -> Accuracy | None:
        """Return how the judge behind a metric errs; None for a metric that rests on no verdicts,
        and for a suite of which nothing was labelled, unless the policy needs it."""
        metric = Metric.parse(name)
        attacked = metric.form not in PLAIN_FORMS
        if not metric.of_verdicts:
            return None
        judge = self.evidence.judges.get(metric.suite)
        known = {
            table.suite: table.accuracy(Outcome(metric.measure))
            for table in self.labelled
            if (table.second, table.attacked, table.view) == (self.second, attacked, metric.view)
            and self.evidence.judges.get(table.suite) == judge
        }
        own = known.get(metric.suite)
        if own is None:
            return NONE if self.needed else None
        return _filled(own, known.values())


def _filled(own: Accuracy, every: Iterable[Accuracy]) -> Accuracy:
    """Return a suite's labels, with those of every suite for a kind of which it has few."""
    every = list(every)
    changes: dict[str, float] = {}
    for labels, said in (("positives", "found"), ("negatives", "mistaken")):
        if getattr(own, labels) < LEAST:
            changes |= {key: sum(getattr(one, key) for one in every) for key in (labels, said)}
    return own.model_copy(update=changes)


def labels_needed(accuracy: Accuracy, decides: Callable[[Accuracy], bool]) -> Accuracy | None:
    """Return the fewest labels that would decide if the judge's accuracy stays: more of one kind,
    else more of both. Of a kind without labels the judge is taken to be right.

    None: not even `MOST_LABELS`.
    """
    so, not_so = max(accuracy.positives, LEAST), max(accuracy.negatives, LEAST)
    found = accuracy.found / accuracy.positives if accuracy.positives else 1.0
    mistaken = accuracy.mistaken / accuracy.negatives if accuracy.negatives else 0.0
    start = Accuracy(positives=so, found=so * found, negatives=not_so, mistaken=not_so * mistaken)
    tried = (_fewest(start, kinds, decides) for kinds in ((1, 0), (0, 1), (1, 1)))
    return min(
        (one for one in tried if one is not None),
        key=lambda one: one.positives + one.negatives,
        default=None,
    )


def _fewest(
    start: Accuracy, kinds: tuple[int, int], decides: Callable[[Accuracy], bool]
) -> Accuracy | None:
    """Return the labels with the fewest times as many of these kinds that decide."""

    def times(factor: float) -> Accuracy:
        so, not_so = (factor if kind else 1.0 for kind in kinds)
        return Accuracy(
            positives=so * start.positives,
            found=so * start.found,
            negatives=not_so * start.negatives,
            mistaken=not_so * start.mistaken,
        )

    low, high = 1.0, MOST_LABELS / (start.positives + start.negatives)
    if high < low or not decides(times(high)):
        return None
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if decides(times(middle)) else (middle, high)
    return times(high)
