"""From judged rows to rates with intervals and to paired comparisons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from components.core import metric_names
from components.core.metric_names import Metric, is_compared
from components.core.result import RateFigure
from components.core.vocabulary import AnyArm, Outcome, Role, View
from components.evaluate.result import CutFigure, Difference
from components.evaluate.rows import Row
from components.evaluate.statistics import compare_pairs, rate_of

# Of one arm: metric -> prompt id -> whether each of its samples counts. A completion that cannot
# count either way, such as one without a thought for a thought's metric, is left out.
Counts = dict[str, dict[str, tuple[bool, ...]]]


def counts_of(rows: Iterable[Row]) -> Counts:
    """Return which completions count in which metric, from the rows of one arm."""
    counts: Counts = defaultdict(dict)
    for row in rows:
        for view, measure, holds in _measured(row):
            prompts = counts[str(Metric(row.suite, measure, row.form, view))]
            prompts[row.prompt_id] = (*prompts.get(row.prompt_id, ()), holds)
    return dict(counts)


def _measured(row: Row) -> Iterator[tuple[View, str, bool]]:
    for view in View:
        found = row.outcome(view)
        if found is not None:
            yield from ((view, outcome, found is outcome) for outcome in Outcome)
    of_all = {
        metric_names.FINISHED: row.finished,
        metric_names.THINK: row.thought is not None,
        metric_names.UNCLOSED: not row.closed,
        metric_names.CORRECT: row.correct,
        metric_names.STRICT: row.correct_strict,
    }
    yield from ((View.ANSWER, name, holds) for name, holds in of_all.items() if holds is not None)


def rates(counts: Counts, confidence: float) -> dict[str, RateFigure]:
    """Return every metric's rate with its interval; n differs where prompts are left out."""
    return {
        metric: rate_of(list(prompts.values()), confidence)
        for metric, prompts in sorted(counts.items())
    }


def differences(
    counts: Mapping[AnyArm, Counts],
    compared: Iterable[tuple[AnyArm, AnyArm]],
    roles: Mapping[str, Role],
    confidence: float,
) -> tuple[Difference, ...]:
    """Return the comparisons of arms in every compared metric that both of them have.

    `roles` says of every suite what its prompts are there to measure.
    """
    return tuple(
        compare_pairs(
            arm, against, metric, _paired(counts[arm][metric], counts[against][metric]), confidence
        )
        for arm, against in compared
        for metric in metric_names.in_order(counts[arm])
        if metric in counts[against] and is_compared(metric, roles[Metric.parse(metric).suite])
    )


def _paired(
    ours: Mapping[str, tuple[bool, ...]], theirs: Mapping[str, tuple[bool, ...]]
) -> list[tuple[tuple[bool, ...], tuple[bool, ...]]]:
    """Return both arms' samples of every prompt that both of them have."""
    return [(ours[prompt], theirs[prompt]) for prompt in sorted(ours.keys() & theirs.keys())]


def cut_figures(
    rows: Mapping[AnyArm, Sequence[Row]], suites: Iterable[str]
) -> dict[str, dict[AnyArm, CutFigure]]:
    """Return of every suite and arm the completions that the judge read without their middle."""
    return {
        suite: {
            arm: CutFigure(
                count=sum(row.cut for row in own if row.suite == suite),
                n=sum(row.suite == suite for row in own),
            )
            for arm, own in rows.items()
        }
        for suite in suites
    }
