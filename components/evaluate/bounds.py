"""Figures of completions of which some were cut off before it was settled whether they count.

What such a completion would have come to, nobody knows. So a figure is no point but runs from the
lowest that it may be to the highest, over whatever the missing parts say, and its interval from the
lower end of the lowest to the upper end of the highest (the range of what is not identified, and
sampling at its ends: Horowitz and Manski 2000, J Am Stat Assoc 95:77-84).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

from components.core.result import RateFigure
from components.core.vocabulary import AnyArm
from components.evaluate.result import Difference
from components.evaluate.statistics import Clusters, Samples, compare_pairs, rate_of

OpenSamples = Sequence[bool | None]  # of one prompt; None: it may count or not
_Figure = TypeVar("_Figure", RateFigure, Difference)


def rate_within(
    prompts: Sequence[OpenSamples], confidence: float, clusters: Clusters = None
) -> RateFigure:
    """Return `rate_of` the completions, at its lowest and at its highest."""
    lowest = rate_of([_settled(samples, as_=False) for samples in prompts], confidence, clusters)
    if not any(None in samples for samples in prompts):
        return lowest
    highest = rate_of([_settled(samples, as_=True) for samples in prompts], confidence, clusters)
    return _from_to(lowest, highest)


def difference_within(
    arm: AnyArm,
    against: AnyArm,
    metric: str,
    pairs: Sequence[tuple[OpenSamples, OpenSamples]],
    confidence: float,
    clusters: Clusters = None,
) -> Difference:
    """Return `compare_pairs` of the completions, at its lowest and at its highest.

    At the lowest what may count does so for `against` alone, at the highest for `arm` alone. The
    p-value is the largest of all that may be.
    """

    lowest, highest = (
        [(_settled(a, as_=as_), _settled(b, as_=not as_)) for a, b in pairs]
        for as_ in (False, True)
    )
    figure = compare_pairs(arm, against, metric, lowest, confidence, clusters)
    if not any(None in samples for pair in pairs for samples in pair):
        return figure
    best = compare_pairs(arm, against, metric, highest, confidence, clusters)
    # On the way from the one to the other more is gained and less lost.
    p_value = 1.0
    if _leaning(lowest, clusters) > 0:
        p_value = figure.p_value
    elif _leaning(highest, clusters) < 0:
        p_value = best.p_value
    return _from_to(figure, best).model_copy(update={"p_value": p_value})


def _leaning(pairs: Sequence[tuple[Samples, Samples]], clusters: Clusters) -> int:
    """Return how many more clusters of prompts are gained than lost."""
    gaps: dict[Hashable, float] = {}
    for cluster, (ours, theirs) in zip(clusters or range(len(pairs)), pairs, strict=True):
        gap = sum(ours) / len(ours) - sum(theirs) / len(theirs)
        gaps[cluster] = gaps.get(cluster, 0.0) + gap
    found = [round(gap, 9) for gap in gaps.values()]  # as `compare_pairs` rounds them
    return sum(gap > 0 for gap in found) - sum(gap < 0 for gap in found)


def _settled(samples: OpenSamples, *, as_: bool) -> Samples:
    return [as_ if counts is None else counts for counts in samples]


def _from_to(lowest: _Figure, highest: _Figure) -> _Figure:
    # Of clusters, or with several samples, the ends are no monotone function of the counts.
    ends = {"low": min(lowest.low, highest.low), "high": max(lowest.high, highest.high)}
    return lowest.model_copy(update=ends | {"highest": highest})
