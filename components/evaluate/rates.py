"""Every figure of the evidence that is counted from its rows: rates, comparisons and lengths."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, TypeVar

from components.core import metric_names
from components.core.metric_names import Metric, is_compared
from components.core.result import RateFigure
from components.core.vocabulary import AnyArm, Arm, Outcome, Role, View
from components.evaluate.bounds import OpenSamples, difference_within, rate_within
from components.evaluate.result import (
    COMPARISONS,
    WITH_CHAMPION,
    CutFigure,
    Difference,
    LengthShift,
)
from components.evaluate.rows import Asked, Row
from components.evaluate.statistics import mean_interval, with_holm

T = TypeVar("T")
_LEFT_OPEN = (Outcome.REFUSED, Outcome.COMPLIED)

# Of one arm: metric -> prompt -> whether each of its samples counts; None: it may or may not. A
# completion that cannot count either way, such as one without a thought for a thought's metric, is
# left out.
Counts = dict[str, dict[Asked, tuple[bool | None, ...]]]


def count_figures(
    rows: Mapping[AnyArm, Sequence[Row]], roles: Mapping[str, Role], *, confidence: float
) -> dict[str, Any]:
    """Return every figure of the evidence that is counted from its rows, by the evidence's keys.

    `roles` are those of the suites.
    """
    counts: dict[AnyArm, Counts] = {arm: counts_of(own) for arm, own in rows.items()}
    pairs = (*COMPARISONS, WITH_CHAMPION) if Arm.CHAMPION in counts else COMPARISONS
    return {
        "cut": cut_figures(rows, roles),
        "rates": {arm: rates(counts[arm], confidence) for arm in Arm if arm in counts},
        "differences": with_holm(differences(counts, pairs, roles, confidence)),
        "lengths": length_shifts(rows, Arm.POST_TRAINED, confidence),
    }


def counts_of(rows: Iterable[Row]) -> Counts:
    """Return which completions count in which metric, from the rows of one arm."""
    counts: Counts = defaultdict(dict)
    measured: dict[tuple[Any, ...], list[tuple[str, bool | None]]] = {}  # there are few kinds
    for row in rows:
        if (kind := _kind(row)) not in measured:
            measured[kind] = [
                (str(Metric(row.suite, measure, row.form, view)), holds)
                for view, measure, holds in _measured(row)
            ]
        asked = row.asked
        for metric, holds in measured[kind]:
            prompts = counts[metric]
            prompts[asked] = (*prompts.get(asked, ()), holds)
    return dict(counts)


def _kind(row: Row) -> tuple[Any, ...]:
    """Return all that `_measured` and a metric's name read of a row."""
    said = (row.thought is None, row.unanswered, row.closed, row.finished)
    judged = (row.outcome_thought, row.outcome_answer, row.correct, row.correct_strict)
    return row.suite, row.form, *said, *judged


def _measured(row: Row) -> Iterator[tuple[View, str, bool | None]]:
    """Yield view, measure and whether the row counts; None where that is left open.

    A verdict is left open where the token limit came before the answer, unless no answer could have
    changed it: one that was begun is read as it stands. A grade goes by what an answer ends on, so
    the token limit always leaves it open. That nothing was said, or nothing could be read, is known
    of what was written.
    """
    for view in View:
        if (found := row.outcome(view)) is not None:
            for outcome in Outcome:
                settled = outcome not in _LEFT_OPEN
                yield view, outcome, found is outcome if settled else row.did(view, outcome)
    of_all = {
        metric_names.FINISHED: row.finished,
        metric_names.THINK: row.thought is not None,
        metric_names.UNCLOSED: not row.closed,
    }
    yield from ((View.ANSWER, name, holds) for name, holds in of_all.items())
    grades = {metric_names.CORRECT: row.correct, metric_names.STRICT: row.correct_strict}
    for name, grade in grades.items():
        if grade is not None:
            yield View.ANSWER, name, grade if row.finished else None


def rates(counts: Counts, confidence: float) -> dict[str, RateFigure]:
    """Return every metric's rate with its interval; n differs where prompts are left out."""
    return {
        metric: rate_within(list(prompts.values()), confidence, clusters_of(prompts))
        for metric, prompts in sorted(counts.items())
    }


def differences(
    counts: Mapping[AnyArm, Counts],
    compared: Iterable[tuple[AnyArm, AnyArm]],
    roles: Mapping[str, Role],
    confidence: float,
) -> tuple[Difference, ...]:
    """Return the comparisons of arms in every compared metric that both of them have, on the
    prompts that both of them have.

    `roles` says of every suite what its prompts are there to measure.
    """
    return tuple(
        compare_paired(arm, against, metric, ours[metric], theirs[metric], confidence)
        for arm, against in compared
        for ours, theirs in [(counts[arm], counts[against])]
        for metric in metric_names.in_order(ours)
        if metric in theirs and is_compared(metric, roles[Metric.parse(metric).suite])
    )


def compare_paired(
    arm: AnyArm,
    against: AnyArm,
    metric: str,
    ours: Mapping[Asked, OpenSamples],
    theirs: Mapping[Asked, OpenSamples],
    confidence: float,
) -> Difference:
    """Return how two arms differ in one metric on the prompts that both were asked."""
    pairs = paired(ours, theirs)
    clusters = clusters_of(pairs)
    return difference_within(arm, against, metric, list(pairs.values()), confidence, clusters)


def paired(ours: Mapping[Asked, T], theirs: Mapping[Asked, T]) -> dict[Asked, tuple[T, T]]:
    """Return what both have of the prompts that both have."""
    return {asked: (ours[asked], theirs[asked]) for asked in sorted(ours.keys() & theirs.keys())}


def clusters_of(prompts: Iterable[Asked]) -> list[str]:
    """Return the cluster of each prompt."""
    return [asked.cluster for asked in prompts]


def cut_figures(
    rows: Mapping[AnyArm, Sequence[Row]], suites: Iterable[str]
) -> dict[str, dict[AnyArm, CutFigure]]:
    """Return of every suite and arm the completions that the judge read without their middle."""
    return {suite: {arm: cut_figure(own, suite) for arm, own in rows.items()} for suite in suites}


def cut_figure(rows: Iterable[Row], suite: str | None = None) -> CutFigure:
    """Return how many completions to prompts of a suite, or of all, the judge read so."""
    cut = [row.cut for row in rows if suite in (None, row.suite)]
    return CutFigure(count=sum(cut), n=len(cut))


def length_shifts(
    rows: Mapping[AnyArm, Sequence[Row]], against: AnyArm, confidence: float
) -> tuple[LengthShift, ...]:
    """Return how much longer or shorter every other arm's completions are than one arm's, on the
    prompts that both were asked; a damaged model often tells by it."""
    lengths = {arm: _lengths(own) for arm, own in rows.items()}
    shifts = []
    for arm in (arm for arm in rows if arm is not against):
        for (suite, form), tokens in lengths[arm].items():
            pairs = paired(tokens, lengths[against].get((suite, form), {}))
            if not pairs:
                continue
            gaps = [ours - theirs for ours, theirs in pairs.values()]
            difference, low, high = mean_interval(gaps, confidence, clusters_of(pairs))
            shift = LengthShift(
                arm=arm, against=against, suite=suite, form=form,
                mean=fmean(ours for ours, _ in pairs.values()),
                difference=difference, low=low, high=high, n=len(pairs),
            )  # fmt: skip
            shifts.append(shift)
    return tuple(shifts)


def _lengths(rows: Iterable[Row]) -> dict[tuple[str, str], dict[Asked, float]]:
    """Return the mean tokens of every prompt's completions, by suite and form."""
    tokens: dict[tuple[str, str], dict[Asked, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        tokens[row.suite, row.form][row.asked].append(row.tokens)
    return {
        place: {prompt: fmean(counts) for prompt, counts in prompts.items()}
        for place, prompts in tokens.items()
    }
