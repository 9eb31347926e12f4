"""Rates and differences of a judge's verdicts, corrected for how often the judge errs.

Of what is so a judge finds a share, its sensitivity; of what is not it says so all the same of a
share, 1 - specificity. So it says it of sensitivity x rate + (1 - specificity) x (1 - rate) of all
completions. Solved for the rate this is the estimator of Rogan and Gladen 1978 (Am J Epidemiol
107:71-76). Where a judge errs alike on two arms, the difference of what it says is J times that of
what is so, with J = sensitivity + specificity - 1.

The interval holds every value that the data keep: for which the interval of

    observed - sensitivity x rate - (1 - specificity) x (1 - rate)    (of a rate)
    observed - J x difference                                         (of a difference)

covers zero, as Fieller does with a ratio. The interval of that sum is made from those of its
independent parts by the variances recovered from their ends (MOVER: Zou and Donner 2008, Stat Med
27:1693-1702; for ratios Donner and Zou 2012, Stat Methods Med Res 21:347-359): the exact one of
each share (Clopper and Pearson 1934, Biometrika 26:404-413), since Wilson's errs to one side where
a share is near 1, and the observed figure's own, Wilson's or Tango's. Few labels make it wide;
those of a judge that may be no better than chance leave no bound but that of a large difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from components.judges.result import Accuracy

LEAST = 10  # labels of either kind; with fewer, coverage was not tried
_STEPS = 60  # halvings, to the last bit
_ROUNDING = 1e-12


class Span(NamedTuple):
    """An estimate with both ends of its interval."""

    point: float
    low: float
    high: float


Terms = Iterable[tuple[float, Span]]  # independent estimates of a sum, each with its factor


def corrected_rate(observed: Span, accuracy: Accuracy, confidence: float) -> Span | None:
    """Return the rate of what is so, within [0, 1], from the rate of the verdicts that say so.

    None with fewer than `LEAST` labels of either kind, for a judge that is right no more often than
    chance, and where the estimate, cut to [0, 1], does not fit figure and labels.
    """
    if not is_measured(accuracy):
        return None
    found, mistaken = _shares(accuracy, confidence)

    def terms(rate: float) -> Terms:
        return (1.0, observed), (-rate, found), (rate - 1, mistaken)

    point = (observed.point - mistaken.point) / (found.point - mistaken.point)
    return _kept(terms, point, least=0.0)


def corrected_difference(observed: Span, accuracy: Accuracy, confidence: float) -> Span | None:
    """Return the difference of what is so, within [-1, 1], from that of the verdicts that say so.

    The judge is taken to err alike on both arms. None as of `corrected_rate`.
    """
    if not is_measured(accuracy):
        return None
    found, mistaken = _shares(accuracy, confidence)

    def terms(difference: float) -> Terms:
        return (1.0, observed), (-difference, found), (difference, mistaken)

    return _kept(terms, observed.point / (found.point - mistaken.point), least=-1.0)


def is_measured(accuracy: Accuracy) -> bool:
    """Return whether there are labels enough, and the judge tells them apart at all."""
    if min(accuracy.positives, accuracy.negatives) < LEAST:
        return False
    return accuracy.found / accuracy.positives > accuracy.mistaken / accuracy.negatives


def _shares(accuracy: Accuracy, confidence: float) -> tuple[Span, Span]:
    """Return sensitivity and 1 - specificity."""
    return (
        _share(accuracy.found, accuracy.positives, confidence),
        _share(accuracy.mistaken, accuracy.negatives, confidence),
    )


def _share(count: float, n: float, confidence: float) -> Span:
    """Return a share with its exact interval; neither number need be whole."""
    from scipy.special import betaincinv  # much lighter than scipy.stats

    tail = (1 - confidence) / 2
    low = float(betaincinv(count, n - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, n - count, 1 - tail)) if n > count else 1.0
    return Span(count / n, low, high)


def _kept(terms: Callable[[float], Terms], point: float, *, least: float) -> Span | None:
    """Return the values from `least` to 1 that are kept, around the one nearest to `point`."""
    point = min(max(point, least), 1.0)

    def keeps(value: float) -> bool:
        low, high = _sum_ends(terms(value))
        return low <= _ROUNDING and high >= -_ROUNDING

    def end(inside: float, outside: float) -> float:
        if keeps(outside):
            return outside
        for _ in range(_STEPS):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if keeps(middle) else (inside, middle)
        return inside

    return Span(point, end(point, least), end(point, 1.0)) if keeps(point) else None


def _sum_ends(terms: Terms) -> tuple[float, float]:
    """Return both ends of the interval of a sum of independent estimates, each times its factor."""
    total = below = above = 0.0
    for factor, (point, low, high) in terms:
        total += factor * point
        ends = factor * (low - point), factor * (high - point)
        below += min(ends) ** 2
        above += max(ends) ** 2
    return total - math.sqrt(below), total + math.sqrt(above)
