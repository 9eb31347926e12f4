"""Intervals of rates and of paired differences, and the paired test."""

from __future__ import annotations

import math
from dataclasses import dataclass

from components.results import RateFigure


@dataclass(frozen=True, slots=True)
class Pairs:
    """How often, on the same n prompts, an event came with the first arm and with the second."""

    both: int
    first: int  # the first arm only
    second: int  # the second arm only
    none: int

    @property
    def n(self) -> int:
        """The number of pairs."""
        return self.both + self.first + self.second + self.none


def paired_interval(pairs: Pairs, confidence: float) -> tuple[float, float]:
    """Return both ends of the interval of the difference in rates, first arm - second arm.

    Newcombe's hybrid score interval (Newcombe 1998, Stat Med 17:2635-2650, method 10): the Wilson
    intervals of the two rates, joined with their correlation phi, which is corrected for
    continuity. Without any discordant pair it keeps a width, unlike the Wald interval.
    """
    one = RateFigure.of(pairs.both + pairs.first, pairs.n, confidence)
    two = RateFigure.of(pairs.both + pairs.second, pairs.n, confidence)
    phi = _corrected_phi(pairs)

    def joined(a: float, b: float) -> float:
        return math.sqrt(max(a * a - 2 * phi * a * b + b * b, 0.0))

    difference = one.rate - two.rate
    return (
        max(difference - joined(one.rate - one.low, two.high - two.rate), -1.0),
        min(difference + joined(one.high - one.rate, two.rate - two.low), 1.0),
    )


def _corrected_phi(pairs: Pairs) -> float:
    """Return the correlation of the two events, a positive one shrunk by n/2; 0 if undefined."""
    margins = (
        (pairs.both + pairs.first)
        * (pairs.second + pairs.none)
        * (pairs.both + pairs.second)
        * (pairs.first + pairs.none)
    )
    if margins == 0:
        return 0.0
    product = pairs.both * pairs.none - pairs.first * pairs.second
    if product > 0:
        return max(product - pairs.n / 2, 0.0) / math.sqrt(margins)
    return product / math.sqrt(margins)


def mcnemar_p(pairs: Pairs) -> float:
    """Return the two-sided p-value of the exact McNemar test; 1 without discordant pairs."""
    from statsmodels.stats.contingency_tables import mcnemar

    table = [[pairs.both, pairs.first], [pairs.second, pairs.none]]
    return float(mcnemar(table, exact=True).pvalue)
