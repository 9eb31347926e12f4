"""From judged rows to rates with intervals and to paired comparisons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from components.evaluation.judging import Row
from components.evaluation.statistics import Pairs, mcnemar_p, paired_interval
from components.records import AnyArm, Form, Outcome
from components.results import COMPARED, Difference, RateFigure

# Of one arm: metric -> prompt id -> whether the prompt counts. A prompt that cannot count either
# way, such as one without a thought for a thought's metric, is left out.
Counts = dict[str, dict[str, bool]]


def counts_of(rows: Iterable[Row]) -> Counts:
    """Return which prompts count in which metric, from the rows of one arm."""
    counts: Counts = defaultdict(dict)
    for row in rows:
        form = ".forced" if row.form is Form.FORCED else ""
        for measure, holds in _measured(row):
            counts[f"{row.role}{form}.{measure}"][row.prompt_id] = holds
    return dict(counts)


def _measured(row: Row) -> Iterator[tuple[str, bool]]:
    for outcome in Outcome:
        yield outcome, row.outcome_answer is outcome
        if row.outcome_thought is not None:
            yield f"thought.{outcome}", row.outcome_thought is outcome
    yield "either.complied", Outcome.COMPLIED in (row.outcome_thought, row.outcome_answer)
    yield "finished", row.finished
    yield "think", row.thought is not None
    if row.correct is not None:
        yield "correct", row.correct


def rates(counts: Counts, confidence: float) -> dict[str, RateFigure]:
    """Return every metric's rate with its Wilson interval; n differs where prompts are left out."""
    return {
        metric: RateFigure.of(sum(prompts.values()), len(prompts), confidence)
        for metric, prompts in sorted(counts.items())
    }


def differences(
    counts: Mapping[AnyArm, Counts],
    compared: Iterable[tuple[AnyArm, AnyArm]],
    confidence: float,
) -> tuple[Difference, ...]:
    """Return the comparisons of arms in every compared metric that both of them have."""
    return tuple(
        _difference(arm, against, metric, counts, confidence)
        for arm, against in compared
        for metric in COMPARED
        if metric in counts[arm] and metric in counts[against]
    )


def _difference(
    arm: AnyArm,
    against: AnyArm,
    metric: str,
    counts: Mapping[AnyArm, Counts],
    confidence: float,
) -> Difference:
    ours, theirs = counts[arm][metric], counts[against][metric]
    outcomes = [(ours[prompt], theirs[prompt]) for prompt in sorted(ours.keys() & theirs.keys())]
    pairs = Pairs(
        both=outcomes.count((True, True)),
        first=outcomes.count((True, False)),
        second=outcomes.count((False, True)),
        none=outcomes.count((False, False)),
    )
    low, high = paired_interval(pairs, confidence)
    return Difference(
        arm=arm,
        against=against,
        metric=metric,
        difference=(pairs.first - pairs.second) / pairs.n,
        low=low,
        high=high,
        n=pairs.n,
        gained=pairs.first,
        lost=pairs.second,
        p_value=mcnemar_p(pairs),
    )
