"""Figures corrected for a judge's errors: by hand, by the obvious grid, and drawn many times."""

from __future__ import annotations

from functools import cache
from math import sqrt
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import binomtest

from components.core.result import wilson_interval
from components.evaluate.statistics import tango_interval
from components.judges.correction import (
    Span,
    corrected_difference,
    corrected_rate,
    is_measured,
)
from components.judges.result import Accuracy

Z = NormalDist().inv_cdf(0.975)


def accuracy(found, positives, mistaken, negatives):
    return Accuracy(positives=positives, found=found, negatives=negatives, mistaken=mistaken)


@cache
def wilson(count, n):
    rate = count / n
    low, high = wilson_interval(rate, n, 0.95)
    return Span(rate, min(low, rate), max(high, rate))


@cache
def exact(count, n):
    """Clopper and Pearson's interval, as scipy has it."""
    ends = binomtest(int(count), int(n)).proportion_ci(0.95, method="exact")
    return Span(count / n, ends.low, ends.high)


@cache
def tango(gained, lost, n):
    difference = (gained - lost) / n
    low, high = tango_interval(gained, lost, n, 0.95)
    return Span(difference, min(low, difference), max(high, difference))


# --- worked by hand ---------------------------------------------------------------------------


def test_the_estimate_is_rogan_and_gladens():
    """A judge with 90 % sensitivity and 95 % specificity says 31 %: (0.31 + 0.95 - 1) / 0.85."""
    found = corrected_rate(wilson(31, 100), accuracy(90, 100, 5, 100), 0.95)
    assert found.point == pytest.approx(0.26 / 0.85)
    difference = corrected_difference(tango(40, 6, 100), accuracy(90, 100, 5, 100), 0.95)
    assert difference.point == pytest.approx(0.34 / 0.85)


def test_ends_of_a_rate_worked_by_hand():
    """At an end T = observed - se p - f (1 - p) is as far from 0 as the parts' distances to the
    ends on the sides that count, squared, weighed and added."""
    labels, seen = accuracy(45, 50, 2, 40), wilson(120, 200)
    found, mistaken = exact(45, 50), exact(2, 40)
    low, high = corrected_rate(seen, labels, 0.95)[1:]
    for p, sign in ((low, 1), (high, -1)):
        total = seen.point - p * found.point - (1 - p) * mistaken.point
        seen_end = seen.low if sign > 0 else seen.high
        se_end = found.high if sign > 0 else found.low
        f_end = mistaken.high if sign > 0 else mistaken.low
        spread = sqrt(
            (seen.point - seen_end) ** 2
            + (p * (found.point - se_end)) ** 2
            + ((1 - p) * (mistaken.point - f_end)) ** 2
        )
        assert sign * total == pytest.approx(spread, abs=1e-9)
    assert 0 < low < 0.6470588 < high < 1


def test_a_judge_without_a_known_error_leaves_the_figure_as_it_is():
    """With labels without end and no error the interval is the observed figure's own."""
    perfect = accuracy(10**9, 10**9, 0, 10**9)
    for count in (0, 3, 97, 150, 300):
        seen = wilson(count, 300)
        assert corrected_rate(seen, perfect, 0.95) == pytest.approx(seen, abs=1e-7)
    seen = tango(12, 3, 100)
    assert corrected_difference(seen, perfect, 0.95) == pytest.approx(seen, abs=1e-7)


def test_labels_that_tell_nothing_leave_no_figure():
    seen = wilson(30, 100)
    for labels in (
        accuracy(0, 0, 0, 0), accuracy(9, 9, 3, 60), accuracy(50, 60, 0, 9),
        accuracy(30, 60, 30, 60), accuracy(10, 60, 20, 60),
    ):  # fmt: skip
        assert corrected_rate(seen, labels, 0.95) is None
        assert corrected_difference(tango(9, 1, 100), labels, 0.95) is None


def test_a_judge_that_may_be_no_better_than_chance_leaves_no_bound():
    few = accuracy(12, 20, 8, 20)
    assert corrected_difference(tango(12, 6, 100), few, 0.95)[1:] == (-1, 1)
    assert corrected_rate(wilson(50, 100), few, 0.95)[1:] == (0, 1)


def test_a_large_difference_is_no_smaller_for_a_poor_judge():
    """What J times the truth shows is at most the truth, and no negative J of these labels shows
    34 points."""
    low = corrected_difference(tango(40, 6, 100), accuracy(7, 12, 3, 12), 0.95).low
    assert tango(40, 6, 100).low < low < 0.85


def test_a_rate_that_no_true_one_explains_is_none():
    """98 % of verdicts say so, and the judge finds at most 70 % of what is so."""
    assert corrected_rate(wilson(294, 300), accuracy(60, 100, 1, 100), 0.95) is None
    assert corrected_rate(wilson(0, 300), accuracy(60, 100, 40, 100), 0.95) is None


# --- by an obvious second way ---------------------------------------------------------------


def kept_on_a_grid(seen, labels, values, factors):
    """Return the first and last value whose sum's interval holds zero, by trying them all."""
    found = exact(labels.found, labels.positives)
    parts = (seen, found, exact(labels.mistaken, labels.negatives))
    kept = []
    for value in values:
        weights = (1.0, *factors(value))
        total = sum(w * p.point for w, p in zip(weights, parts, strict=True))
        below = above = 0.0
        for w, p in zip(weights, parts, strict=True):
            down, up = (p.point - p.low, p.high - p.point)
            below += (w * (down if w > 0 else up)) ** 2
            above += (w * (up if w > 0 else down)) ** 2
        if total - sqrt(below) <= 0 <= total + sqrt(above):
            kept.append(value)
    return (min(kept), max(kept)) if kept else None


counts = st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(seen=counts, found=counts, mistaken=counts)
@example(seen=(10, 30), found=(1, 17), mistaken=(0, 10))  # no more than 3 % fits, the estimate is 1
def test_a_rates_ends_are_those_of_a_grid(seen, found, mistaken):
    labels = accuracy(*found, *mistaken)
    span = corrected_rate(wilson(*seen), labels, 0.95)
    if not is_measured(labels):
        assert span is None
        return
    grid = np.linspace(0, 1, 501)
    tried = kept_on_a_grid(wilson(*seen), labels, grid, lambda p: (-p, p - 1))
    if span is None:
        (sensitivity, mistakes), rate = (a[0] / a[1] for a in (found, mistaken)), seen[0] / seen[1]
        point = min(max((rate - mistakes) / (sensitivity - mistakes), 0), 1)
        assert kept_on_a_grid(wilson(*seen), labels, [point], lambda p: (-p, p - 1)) is None
    elif tried is not None:  # else it lies between two of the grid
        assert span.low <= span.point <= span.high
        assert (span.low, span.high) == pytest.approx(tried, abs=0.0021)


@given(
    cells=st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 60)),
    found=counts,
    mistaken=counts,
)
def test_a_differences_ends_are_those_of_a_grid(cells, found, mistaken):
    gained, lost, agreed = cells
    labels = accuracy(*found, *mistaken)
    seen = tango(gained, lost, gained + lost + agreed)
    span = corrected_difference(seen, labels, 0.95)
    if span is None:
        most_shown = found[0] / found[1] - mistaken[0] / mistaken[1]
        assert not is_measured(labels) or abs(seen.point) > most_shown
        return
    grid = np.linspace(-1, 1, 1001)
    tried = kept_on_a_grid(seen, labels, grid, lambda d: (-d, d))
    assert span.low <= span.point <= span.high
    assert (span.low, span.high) == pytest.approx(tried, abs=0.0021)


@given(seen=counts, found=counts, mistaken=counts, factor=st.integers(2, 50))
def test_more_labels_of_the_same_judge_never_widen_the_interval(seen, found, mistaken, factor):
    few = accuracy(*found, *mistaken)
    many = accuracy(*(factor * n for n in (*found, *mistaken)))
    first, second = (corrected_rate(wilson(*seen), labels, 0.95) for labels in (few, many))
    if not is_measured(few) or first is None or second is None:
        assert second is None or not is_measured(few)
        return
    assert second.low >= first.low - 1e-9
    assert second.high <= first.high + 1e-9


# --- coverage -------------------------------------------------------------------------------

JUDGES = ((1.0, 1.0), (0.95, 0.98), (0.9, 0.9), (0.75, 0.95), (0.6, 0.9))
LABELS = ((10, 10), (20, 60), (40, 40), (30, 150), (150, 150))


def missed_rates(draw, rate, judge, n, labels, times):
    """Return how often the interval lies wholly above and wholly below the true rate."""
    (se, sp), (positives, negatives) = judge, labels
    seen = draw.binomial(n, rate * se + (1 - rate) * (1 - sp), times)
    found = draw.binomial(positives, se, times)
    mistaken = draw.binomial(negatives, 1 - sp, times)
    above = below = 0
    for x, s, m in zip(seen.tolist(), found.tolist(), mistaken.tolist(), strict=True):
        span = corrected_rate(wilson(x, n), accuracy(s, positives, m, negatives), 0.95)
        above += span is not None and span.low > rate + 1e-9
        below += span is not None and span.high < rate - 1e-9
    return above / times, below / times


def missed_differences(draw, shares, judge, n, labels, times):
    """Return the same of the difference of two arms, of pairs that are so in both, in the first, in
    the second and in none; the judge errs on each completion by itself."""
    (se, sp), (positives, negatives) = judge, labels
    truth = shares[1] - shares[2]
    above = below = 0
    said = {True: se, False: 1 - sp}
    cells = np.zeros(4)
    for share, (a, b) in zip(
        shares, ((True, True), (True, False), (False, True), (False, False)), strict=True
    ):
        p, q = said[a], said[b]
        cells += share * np.array([p * q, p * (1 - q), (1 - p) * q, (1 - p) * (1 - q)])
    for table in draw.multinomial(n, cells / cells.sum(), times).tolist():
        seen = tango(table[1], table[2], n)
        labels_now = accuracy(
            draw.binomial(positives, se), positives, draw.binomial(negatives, 1 - sp), negatives
        )
        span = corrected_difference(seen, labels_now, 0.95)
        above += span is not None and span.low > truth + 1e-9
        below += span is not None and span.high < truth - 1e-9
    return above / times, below / times


def most(expected, times):
    """Return the largest share that chance leaves, four standard errors above the expected one."""
    return expected + 4 * sqrt(expected * (1 - expected) / times)


RATES = (0.0, 0.02, 0.1, 0.15, 0.5, 0.85, 0.95, 1.0)
# Shares of pairs: equal arms, all gained, half gained, a margin's loss, much that differs.
PAIRS = (
    (0.9, 0.0, 0.0, 0.1), (0.0, 1.0, 0.0, 0.0), (0.2, 0.5, 0.0, 0.3), (0.85, 0.0, 0.1, 0.05),
    (0.0, 0.1, 0.0, 0.9), (0.3, 0.25, 0.15, 0.3),
)  # fmt: skip


def test_an_interval_misses_a_rate_no_more_often_than_stated():
    draw, times = np.random.default_rng(0), 250
    for rate in (0.0, 0.1, 0.85, 1.0):
        for judge in JUDGES[:4]:
            for labels in ((10, 10), (30, 150)):
                missed = missed_rates(draw, rate, judge, 300, labels, times)
                assert max(missed) <= most(0.045, times), (rate, judge, labels)
                assert sum(missed) <= most(0.05, times), (rate, judge, labels)


def test_an_interval_misses_a_difference_no_more_often_than_stated():
    draw, times = np.random.default_rng(0), 150
    for shares in PAIRS[:4]:
        for judge in JUDGES[1:4]:
            missed = missed_differences(draw, shares, judge, 100, (30, 150), times)
            assert max(missed) <= most(0.045, times), (shares, judge)
            assert sum(missed) <= most(0.05, times), (shares, judge)


def test_labels_of_the_counted_completions_themselves_miss_no_more():
    """As the command draws them: some of the rows, here of two arms, whatever was said of them."""
    draw, times, n = np.random.default_rng(0), 300, 300
    for rate, labelled in ((0.15, 40), (0.85, 40), (0.85, 150)):
        missed = 0
        for _ in range(times):
            is_so = np.concatenate([draw.random(n) < rate, draw.random(labelled) < 0.1])
            says = draw.random(len(is_so)) < np.where(is_so, 0.9, 0.1)
            seen, known = says[:n].sum(), np.r_[0:labelled, n : n + labelled]
            so, said = is_so[known], says[known]
            labels = accuracy((so & said).sum(), so.sum(), (~so & said).sum(), (~so).sum())
            span = corrected_rate(wilson(int(seen), n), labels, 0.95)
            missed += span is not None and not span.low <= rate <= span.high
        assert missed / times <= most(0.05, times), (rate, labelled)


@pytest.mark.slow
@pytest.mark.parametrize("n", [100, 300])
def test_coverage_over_rates_judges_and_labels(n):
    draw, times = np.random.default_rng(1), 500
    for rate in RATES:
        for judge in JUDGES:
            for labels in LABELS:
                missed = missed_rates(draw, rate, judge, n, labels, times)
                assert max(missed) <= most(0.045, times), (rate, judge, labels, missed)


@pytest.mark.slow
@pytest.mark.parametrize("n", [100, 300])
def test_coverage_over_pairs_judges_and_labels(n):
    draw, times = np.random.default_rng(1), 500
    for shares in PAIRS:
        for judge in JUDGES:
            for labels in LABELS:
                missed = missed_differences(draw, shares, judge, n, labels, times)
                assert max(missed) <= most(0.045, times), (shares, judge, labels, missed)
