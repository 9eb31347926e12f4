"""Intervals against worked values, a slow second implementation and simulation."""

from __future__ import annotations

import math
import random

import pytest

from components.errors import EvidenceError
from components.evaluation.statistics import Pairs, mcnemar_p, paired_interval
from components.results import RateFigure

Z = 1.959963984540054


def wilson_interval(count, n, confidence):
    figure = RateFigure.of(count, n, confidence)
    return figure.low, figure.high


def wilson_by_search(count, n):
    """The Wilson interval as what it is: all p with |count/n - p| <= z * sqrt(p (1-p) / n)."""

    def inside(p):
        return abs(count / n - p) <= Z * math.sqrt(p * (1 - p) / n) + 1e-15

    def edge(inner, outer):
        if inside(outer):
            return outer
        for _ in range(60):
            middle = (inner + outer) / 2
            inner, outer = (middle, outer) if inside(middle) else (inner, middle)
        return inner

    return edge(count / n, 0.0), edge(count / n, 1.0)


def newcombe_by_hand(e, f, g, h):
    """Method 10 written out step by step from the paper's own description."""
    n = e + f + g + h
    l2, u2 = wilson_by_search(e + f, n)
    l3, u3 = wilson_by_search(e + g, n)
    theta = (f - g) / n
    if 0 in (e + f, g + h, e + g, f + h):
        phi = 0.0
    else:
        product = e * h - f * g
        if product > n / 2:
            corrected = product - n / 2
        elif product >= 0:
            corrected = 0
        else:
            corrected = product
        phi = corrected / math.sqrt((e + f) * (g + h) * (e + g) * (f + h))
    dl2, du2 = (e + f) / n - l2, u2 - (e + f) / n
    dl3, du3 = (e + g) / n - l3, u3 - (e + g) / n
    delta = math.sqrt(dl2**2 - 2 * phi * dl2 * du3 + du3**2)
    epsilon = math.sqrt(du2**2 - 2 * phi * du2 * dl3 + dl3**2)
    return theta - delta, theta + epsilon


# By hand with z = 1.96: (p + z2/2n -+ z sqrt(p(1-p)/n + z2/4n2)) / (1 + z2/n).
@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, Stat Med 17:857-872, table I
        (15, 148, 0.0624, 0.1605),  # the same table
        (0, 20, 0.0, 0.1611),  # the same table
        (1, 29, 0.0061, 0.1718),  # the same table
    ],
)
def test_wilson_interval_of_published_examples(count, n, low, high):
    assert wilson_interval(count, n, 0.95) == pytest.approx((low, high), abs=6e-5)


def test_wilson_interval_encloses_the_rate_at_both_ends():
    for n in (1, 7, 300):
        for count in (0, n):
            low, high = wilson_interval(count, n, 0.95)
            assert 0 <= low <= count / n <= high <= 1
            assert high - low > 0
    assert wilson_interval(30, 60, 0.99)[0] < wilson_interval(30, 60, 0.9)[0]


def test_zero_samples_raise():
    with pytest.raises(EvidenceError, match="zero"):
        wilson_interval(0, 0, 0.95)
    with pytest.raises(EvidenceError, match="zero"):
        paired_interval(Pairs(0, 0, 0, 0), 0.95)


def test_paired_interval_of_published_example():
    # Bentur et al. 2009 in Fagerland, Lydersen, Laake 2014, Stat Med 33:2850-2875.
    low, high = paired_interval(Pairs(1, 1, 7, 12), 0.95)
    assert (low, high) == pytest.approx((-0.507, -0.026), abs=5e-4)


def test_paired_interval_equals_the_slow_one():
    tables = [
        (20, 12, 2, 16), (1, 1, 7, 12), (300, 0, 0, 0), (150, 0, 0, 150), (0, 0, 0, 5),
        (0, 10, 0, 0), (0, 5, 5, 0), (98, 2, 0, 0), (3, 1, 0, 1), (1, 0, 0, 1), (40, 3, 30, 2),
    ]  # fmt: skip
    for table in tables:
        expected = newcombe_by_hand(*table)
        assert paired_interval(Pairs(*table), 0.95) == pytest.approx(expected, abs=1e-6), table


def test_paired_interval_is_never_a_point_and_turns_with_its_arms():
    chance = random.Random(0)
    tables = [tuple(chance.randint(0, 12) for _ in range(4)) for _ in range(200)]
    for both, first, second, none in tables:
        if both + first + second + none == 0:
            continue
        pairs = Pairs(both, first, second, none)
        low, high = paired_interval(pairs, 0.95)
        assert -1 <= low <= (first - second) / pairs.n <= high <= 1
        assert high - low > 1e-3
        turned = paired_interval(Pairs(both, second, first, none), 0.95)
        assert turned == pytest.approx((-high, -low), abs=1e-12)


@pytest.mark.parametrize("shares", [(0.9, 0.05, 0.01, 0.04), (0.5, 0.2, 0.1, 0.2)])
def test_paired_interval_covers_the_true_difference(shares):
    chance, hits, rounds = random.Random(1), 0, 400
    truth = shares[1] - shares[2]
    for _ in range(rounds):
        drawn = chance.choices(range(4), weights=shares, k=80)
        low, high = paired_interval(Pairs(*(drawn.count(i) for i in range(4))), 0.95)
        hits += low <= truth <= high
    # The method is known for coverage at or a little above the nominal 95 %; 3 sigma is 3.3 %.
    assert hits / rounds >= 0.917


def test_exact_mcnemar_is_a_coin_toss():
    # 12 against 2: twice the chance of at most 2 heads in 14 tosses, (1 + 14 + 91) / 2^14 * 2.
    assert mcnemar_p(Pairs(20, 12, 2, 16)) == pytest.approx(2 * 106 / 2**14)
    assert mcnemar_p(Pairs(0, 6, 0, 0)) == pytest.approx(2 / 2**6)
    assert mcnemar_p(Pairs(7, 0, 0, 3)) == 1
    assert mcnemar_p(Pairs(0, 5, 5, 0)) == 1
