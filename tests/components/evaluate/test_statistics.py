"""Intervals against worked values, a slow second implementation and simulation."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize_scalar
from scipy.stats import beta
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from components.core.errors import EvidenceError
from components.core.result import RateFigure
from components.core.vocabulary import Arm
from components.evaluate.statistics import (
    compare_pairs,
    design_effect,
    mcnemar_p,
    mean_interval,
    paired_design_effect,
    paired_interval,
    rate_of,
    tango_interval,
    with_holm,
)

Z = 1.959963984540054


def pairs_of(both, first, second, none):
    """One completion a prompt and arm, from the fourfold table."""
    table = ((True, True, both), (True, False, first), (False, True, second), (False, False, none))
    return [((one,), (two,)) for one, two, count in table for _ in range(count)]


def ends(*table, confidence=0.95):
    _, low, high = paired_interval(pairs_of(*table), confidence)
    return low, high


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


def score_by_hand(gained, lost, n, truth):
    """Tango's statistic, the likeliest table with such a difference found by trying tables."""

    def unlikely(share_lost):
        cells = (
            (gained, share_lost + truth),
            (lost, share_lost),
            (n - gained - lost, 1 - 2 * share_lost - truth),
        )
        return -sum(count * math.log(max(p, 1e-300)) for count, p in cells if count)

    allowed = (max(0.0, -truth), (1 - truth) / 2)
    share_lost = minimize_scalar(
        unlikely, bounds=allowed, method="bounded", options={"xatol": 1e-13}
    ).x
    variance = 2 * share_lost + truth - truth**2
    return (gained - lost - n * truth) / math.sqrt(n * variance)


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


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_intervals_and_p_values_are_those_of_statsmodels(confidence):
    """Whose import every command would pay for."""
    draw = np.random.default_rng(0)
    for count, n in [(0, 1), (1, 1), (0, 5000), (5000, 5000), *draw.integers(0, 9, (40, 2))]:
        count, n = int(count), int(count + n + 1)
        expected = proportion_confint(count, n, alpha=1 - confidence, method="wilson")
        assert wilson_interval(count, n, confidence) == pytest.approx(expected, abs=1e-14)
        exact = mcnemar([[0, count], [n, 0]], exact=True).pvalue
        assert mcnemar_p(count, n) == mcnemar_p(n, count) == pytest.approx(exact, rel=1e-12)
    one = compare_pairs(Arm.RESTORED, Arm.BASE, "benign.refused", pairs_of(9, 3, 2, 9), 0.95)
    for _ in range(20):
        raw = draw.choice([*draw.random(4), 0.01, 0.0, 1.0], 6)  # ties among them
        adjusted = with_holm([one.model_copy(update={"p_value": p}) for p in raw.tolist()])
        expected = multipletests(raw, method="holm")[1]
        assert [d.p_holm for d in adjusted] == pytest.approx(expected.tolist(), abs=1e-14)


def test_zero_samples_raise():
    with pytest.raises(EvidenceError, match="zero"):
        wilson_interval(0, 0, 0.95)
    with pytest.raises(EvidenceError, match="zero"):
        paired_interval([], 0.95)
    with pytest.raises(EvidenceError, match="without completions"):
        rate_of([(True,), ()], 0.95)
    with pytest.raises(EvidenceError, match="zero"):
        mean_interval([], 0.95)


def test_paired_interval_of_published_examples():
    # Bentur et al. 2009 in Fagerland, Lydersen, Laake 2014, Stat Med 33:2850-2875.
    assert ends(1, 1, 7, 12) == pytest.approx((-0.517, -0.026), abs=5e-4)
    # Cavo et al. 2012, by the package `contingencytables` of the same authors.
    assert ends(59, 6, 16, 80) == pytest.approx((-0.1240, -0.0054), abs=6e-5)


def test_the_ends_of_a_paired_interval_are_z_standard_errors_away():
    tables = [
        (20, 12, 2, 16), (1, 1, 7, 12), (300, 0, 0, 0), (150, 0, 0, 150), (0, 0, 0, 5),
        (0, 5, 5, 0), (98, 2, 0, 0), (3, 1, 0, 1), (1, 0, 0, 1), (40, 3, 30, 2), (500, 4, 90, 6),
    ]  # fmt: skip
    for both, first, second, none in tables:
        n = both + first + second + none
        low, high = ends(both, first, second, none)
        assert score_by_hand(first, second, n, low) == pytest.approx(Z, abs=1e-5)
        assert score_by_hand(first, second, n, high) == pytest.approx(-Z, abs=1e-5)


def test_paired_intervals_that_can_be_written_down():
    """Where no pair differs, z^2 / (n + z^2); where all do alike, (n - z^2) / (n + z^2) to 1."""
    for n in (1, 10, 300):
        nothing = Z**2 / (n + Z**2)
        assert ends(0, 0, 0, n) == pytest.approx((-nothing, nothing))
        least = (n - Z**2) / (n + Z**2)
        assert ends(0, n, 0, 0) == pytest.approx((least, 1))
        assert ends(0, 0, n, 0) == pytest.approx((-1, -least))


def test_pairs_that_agree_matter_by_their_number_only():
    expected = tango_interval(3, 9, 100, 0.95)
    for both in (0, 28, 60, 88):
        assert ends(both, 3, 9, 88 - both) == pytest.approx(expected)


def test_paired_interval_is_never_a_point_and_turns_with_its_arms():
    chance = random.Random(0)
    tables = [tuple(chance.randint(0, 12) for _ in range(4)) for _ in range(200)]
    for both, first, second, none in tables:
        if both + first + second + none == 0:
            continue
        difference, low, high = paired_interval(pairs_of(both, first, second, none), 0.95)
        assert difference == pytest.approx((first - second) / (both + first + second + none))
        assert -1 <= low <= difference <= high <= 1
        assert high - low > 1e-3
        turned = ends(both, second, first, none)
        assert turned == pytest.approx((-high, -low), abs=1e-9)


@pytest.mark.parametrize("shares", [(0.9, 0.05, 0.01, 0.04), (0.5, 0.2, 0.1, 0.2)])
def test_paired_interval_covers_the_true_difference(shares):
    chance, hits, rounds = random.Random(1), 0, 400
    truth = shares[1] - shares[2]
    for _ in range(rounds):
        drawn = chance.choices(range(4), weights=shares, k=80)
        low, high = ends(*(drawn.count(i) for i in range(4)))
        hits += low <= truth <= high
    # The method is known for coverage at or a little above the nominal 95 %; 3 sigma is 3.3 %.
    assert hits / rounds >= 0.917


def test_exact_mcnemar_is_a_coin_toss():
    # 12 against 2: twice the chance of at most 2 heads in 14 tosses, (1 + 14 + 91) / 2^14 * 2.
    assert mcnemar_p(12, 2) == pytest.approx(2 * 106 / 2**14)
    assert mcnemar_p(6, 0) == pytest.approx(2 / 2**6)
    assert mcnemar_p(0, 0) == mcnemar_p(5, 5) == 1


# --- several completions a prompt ------------------------------------------------------------


def clusters(draw, prompts, samples, rate, alike):
    """Completions of prompts whose shares are Beta distributed; `alike` is their correlation."""
    shares = np.full(prompts, rate)
    if alike:
        size = (1 - alike) / alike
        shares = draw.beta(rate * size, (1 - rate) * size, prompts)
    return [tuple(bool(x) for x in draw.random(samples) < share) for share in shares]


def test_one_completion_a_prompt_is_wilson_to_the_last_bit():
    for count, n in ((0, 20), (81, 263), (300, 300)):
        prompts = [(i < count,) for i in range(n)]
        assert rate_of(prompts, 0.95) == RateFigure.of(count, n, 0.95)
        hits = np.array([float(hit) for (hit,) in prompts])
        assert design_effect(hits, np.ones(n)) == pytest.approx(1)


def test_completions_that_are_all_alike_are_as_good_as_one():
    alike = [(i < 15,) * 8 for i in range(50)]
    assert design_effect(8.0 * (np.arange(50) < 15), np.full(50, 8.0)) == pytest.approx(8)
    figure, one = rate_of(alike, 0.95), RateFigure.of(15, 50, 0.95)
    assert (figure.low, figure.high) == pytest.approx((one.low, one.high))
    assert (figure.count, figure.samples, figure.n) == (120, 400, 50)


def test_the_design_effect_by_hand():
    """Two prompts of two completions, 2 and 1 that count; with the made-up ones 5 of 8 count.

    Squares (2 - 1.25)^2 + (1 - 1.25)^2 + (2 - 1.25)^2 + (0 - 1.25)^2 = 2.75 over 8 * 5/8 * 3/8.
    """
    effect = design_effect(np.array([2.0, 1]), np.array([2.0, 2]))
    assert effect == pytest.approx(2.75 / 1.875)


def test_prompts_with_more_completions_weigh_more():
    figure = rate_of([(True,) * 6, (False, False)], 0.95)
    assert figure.rate == 0.75
    assert figure.low < 0.75 < figure.high


def test_a_rate_of_zero_keeps_the_width_that_its_prompts_give():
    never = rate_of([(False,) * 16] * 30, 0.95)
    assert (never.low, never.high) == pytest.approx(wilson_interval(0, 30, 0.95))
    once = rate_of([(True,) + (False,) * 15] + [(False,) * 16] * 29, 0.95)
    assert once.high > 0.9 * never.high


@pytest.mark.parametrize(
    ("prompts", "samples", "rate", "alike"),
    [(30, 8, 0.5, 0.0), (30, 8, 0.5, 0.5), (60, 4, 0.85, 0.3), (100, 4, 0.1, 0.7)],
)
def test_the_interval_of_clusters_covers_the_true_rate(prompts, samples, rate, alike):
    """Wilson's own, as if all completions were independent, covers it far too seldom."""
    draw, rounds, hits, naive = np.random.default_rng(0), 500, 0, 0
    for _ in range(rounds):
        drawn = clusters(draw, prompts, samples, rate, alike)
        figure = rate_of(drawn, 0.95)
        hits += figure.low <= rate <= figure.high
        plain = RateFigure.of(figure.count, figure.samples, 0.95)
        naive += plain.low <= rate <= plain.high
    # 95 % less three standard errors of 500 rounds.
    assert hits / rounds >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / rounds)
    assert alike == 0 or naive / rounds < 0.9


def test_the_paired_interval_of_clusters_covers_the_true_difference():
    """Both arms are right on the same prompts more often than not; the truth is 6 points."""
    draw, rounds, hits = np.random.default_rng(1), 400, 0
    for _ in range(rounds):
        base = draw.random(60)
        levels = (beta.ppf(base, 1.4, 0.6), beta.ppf(base, 1.28, 0.72))
        both = [[tuple(draw.random(4) < share) for share in shares] for shares in levels]
        _, low, high = paired_interval(list(zip(*both, strict=True)), 0.95)
        hits += low <= 0.06 <= high
    assert hits / rounds >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / rounds)


def test_pairs_of_completions_that_are_all_alike_are_as_good_as_one():
    table = (40, 3, 9, 48)
    alike = [(ours * 5, theirs * 5) for ours, theirs in pairs_of(*table)]
    assert paired_interval(alike, 0.95) == pytest.approx(paired_interval(pairs_of(*table), 0.95))


def test_the_paired_design_effect_by_hand():
    """Two prompts of two completions: 2 against 0 and 1 against 1.

    With the made-up ones the gaps are 1, 0, 1, -1, their mean is 1/4 and their variance 2.75 / 4;
    of pairs of completions 1, 1/2, 1, 1 differ, which has the variance 3.5 / 4 - 1/16.
    """
    effect = paired_design_effect(np.array([[2.0, 1], [0, 1]]), np.full((2, 2), 2.0), np.arange(2))
    assert effect == pytest.approx((2.75 / 4) / (3.5 / 4 - 1 / 16))


def test_completions_set_apart_by_chance_alone_narrow_the_paired_interval():
    draw = np.random.default_rng(3)
    hits = draw.binomial(4, 0.6, (2, 2000)).astype(float)
    samples = np.full(hits.shape, 4.0)
    places = np.arange(2000)
    assert paired_design_effect(hits, samples, places) == pytest.approx(1 / 4, abs=0.02)
    assert paired_design_effect(hits * 0, samples, places) == pytest.approx(1)


def test_comparing_arms_whose_prompts_have_several_completions():
    pairs = [((True, True), (True, False)), ((True, False), (False, True)), ((True,), (False,))]
    found = compare_pairs(Arm.RESTORED, Arm.POST_TRAINED, "reasoning.correct", pairs * 20, 0.95)
    assert (found.gained, found.lost, found.n) == (40, 0, 60)
    assert found.difference == pytest.approx(4 / 5 - 2 / 5)
    assert found.p_value == pytest.approx(2 / 2**40)


# --- near-copies -----------------------------------------------------------------------------


def test_ten_copies_of_thirty_requests_count_as_thirty():
    table = (14, 2, 5, 9)
    copies = [pair for pair in pairs_of(*table) for _ in range(10)]
    names = [i // 10 for i in range(300)]
    one, ten = paired_interval(pairs_of(*table), 0.95), paired_interval(copies, 0.95, names)
    assert ten == pytest.approx(one)
    figure, plain = rate_of([own for own, _ in copies], 0.95, names), RateFigure.of(16, 30, 0.95)
    assert (figure.low, figure.high) == pytest.approx((plain.low, plain.high))
    assert (figure.count, figure.n, figure.samples, figure.clusters) == (160, 300, None, 30)
    found = compare_pairs(Arm.RESTORED, Arm.BASE, "harmful.refused", copies, 0.95, names)
    assert (found.gained, found.lost, found.n, found.clusters) == (20, 50, 300, 30)
    assert found.p_value == mcnemar_p(2, 5)


def test_clusters_that_lean_otherwise_than_the_difference_show_nothing():
    """A hundred near-copies lost, ten prompts gained: worse, and ten of eleven clusters better."""
    pairs = [((False,), (True,))] * 100 + [((True,), (False,))] * 10
    names = ["copies"] * 100 + list(range(10))
    found = compare_pairs(Arm.RESTORED, Arm.BASE, "harmful.refused", pairs, 0.95, names)
    assert found.difference < 0 and found.p_value == 1


def test_prompts_without_copies_are_as_before_whatever_their_names():
    pairs = pairs_of(14, 2, 5, 9)
    names = [f"prompt {i}" for i in range(30)]
    assert paired_interval(pairs, 0.95, names) == paired_interval(pairs, 0.95)
    prompts = [own for own, _ in pairs]
    assert rate_of(prompts, 0.95, names) == rate_of(prompts, 0.95)


def test_clusters_of_unlike_sizes_by_hand():
    """Prompts of clusters a a a b: 1 1 0 1. A prompt finds (9 + 1) / 4 = 2.5 in its cluster.

    With a made-up cluster of 2.5 that count and one of 2.5 that do not, 5.5 of 9 count. Squares
    (2 - 3 r)^2 + (1 - r)^2 + (2.5 - 2.5 r)^2 + (2.5 r)^2 over 9 r (1 - r), where r = 5.5 / 9.
    """
    r = 5.5 / 9
    squares = (2 - 3 * r) ** 2 + (1 - r) ** 2 + (2.5 - 2.5 * r) ** 2 + (2.5 * r) ** 2
    effect = design_effect(np.array([2.0, 1]), np.array([3.0, 1]))
    assert effect == pytest.approx(squares / (9 * r * (1 - r)))
    figure = rate_of([(True,), (True,), (False,), (True,)], 0.95, "aaab")
    assert (figure.low, figure.high) == pytest.approx(wilson_interval_of(0.75, 4 / effect))


def wilson_interval_of(rate, n):
    middle, half = rate + Z**2 / (2 * n), Z * math.sqrt(rate * (1 - rate) / n + Z**2 / (4 * n**2))
    return (middle - half) / (1 + Z**2 / n), min((middle + half) / (1 + Z**2 / n), 1)


@pytest.mark.parametrize("sizes", [(10,) * 30, (2,) * 100, tuple(range(1, 13)) * 4])
@pytest.mark.parametrize("alike", [0, 0.3, 1])
def test_the_level_is_held_however_alike_near_copies_are(sizes, alike):
    """Of rates and of differences, at each end alone; the nominal 2.5 % are Wilson's own 6 % where
    one cluster in twenty counts. Taken for independent, ten alike miss a third of the time."""
    draw, rounds = np.random.default_rng(7), 300
    names = np.repeat(np.arange(len(sizes)), sizes)
    missed = dict.fromkeys(("rate below", "rate above", "below", "above", "naive"), 0)
    for _ in range(rounds):
        shared, own = draw.random(len(sizes))[names], draw.random(len(names))
        score = np.where(draw.random(len(names)) < math.sqrt(alike), shared, own)
        ours, theirs = (score < 0.15) | (score > 0.4), (score >= 0.15) & (score < 0.2)
        theirs |= score > 0.4  # 0.75 and 0.65: 15 % gained, 5 % lost
        pairs = [((bool(a),), (bool(b),)) for a, b in zip(ours, theirs, strict=True)]
        _, low, high = paired_interval(pairs, 0.95, list(names))
        rate = rate_of([a for a, _ in pairs], 0.95, list(names))
        naive = RateFigure.of(rate.count, rate.n, 0.95)
        missed["rate below"] += rate.high < 0.75
        missed["rate above"] += rate.low > 0.75
        missed["below"] += high < 0.10
        missed["above"] += low > 0.10
        missed["naive"] += not naive.low <= 0.75 <= naive.high
    assert max(count for kind, count in missed.items() if kind != "naive") / rounds <= 0.055
    if alike == 1 and sizes[0] == 10:
        assert missed["naive"] / rounds > 0.3


def test_lengths_of_near_copies_count_once():
    gaps = np.random.default_rng(4).normal(1, 2, 40)
    names = [i // 5 for i in range(200)]
    apart = mean_interval(list(np.repeat(gaps, 5)), 0.95)
    together = mean_interval(list(np.repeat(gaps, 5)), 0.95, names)
    assert together == pytest.approx(mean_interval(list(gaps), 0.95))
    assert together[2] - together[1] > 2 * (apart[2] - apart[1])


# --- means, Holm -----------------------------------------------------------------------------


def test_a_mean_has_students_interval():
    gaps = np.random.default_rng(2).lognormal(1, 0.6, 30)
    wanted = stats.ttest_1samp(gaps, 0).confidence_interval(0.9)
    assert mean_interval(list(gaps), 0.9) == pytest.approx((gaps.mean(), *wanted))


def test_a_mean_of_unequal_clusters_by_hand():
    """Clusters (1, 3), (2) and (6), mean 3: residues -2, -1 and 3. Effective are 4**2 / 6 = 8/3
    clusters, so the variance of the mean is 14 * (8/3) / (5/3) / 4**2, with 5/3 degrees of
    freedom."""
    reach = stats.t.ppf(0.975, 5 / 3) * math.sqrt(14 * 1.6) / 4
    found = mean_interval([1, 3, 2, 6], 0.95, ["a", "a", "b", "c"])
    assert found == pytest.approx((3, 3 - reach, 3 + reach))


def test_a_mean_of_one_cluster_is_as_wide_as_its_numbers():
    assert mean_interval([2, 2], 0.95) == (2, 2, 2)
    assert mean_interval([1, 4, 7], 0.95, ["a"] * 3) == (4, 1, 7)
    assert mean_interval([3], 0.95) == (3, 3, 3)
    assert mean_interval([1, 5, 6, 9], 0.95, ["a", "a", "a", "b"]) == (5.25, 1, 9)
    mean, _, high = mean_interval([0.1] * 3, 0.95, ["a"] * 3)
    assert mean <= high


@pytest.mark.parametrize("sizes", [(20, *[1] * 60), (22, 14, 10, *[1] * 8), (40, *[1] * 60)])
def test_a_mean_keeps_its_level_where_one_cluster_is_large(sizes):
    """Prompts of a cluster are all alike: 1,000 draws."""
    draw, missed, names = np.random.default_rng(6), 0, np.repeat(np.arange(len(sizes)), sizes)
    for _ in range(1000):
        _, low, high = mean_interval(list(draw.normal(0, 1, len(sizes))[names]), 0.95, list(names))
        missed += not low <= 0 <= high
    assert missed / 1000 <= 0.08


def test_a_mean_of_skewed_lengths_keeps_its_level():
    """Gaps of two log-normal lengths, some prompts in clusters of five: 1,000 draws."""
    draw, missed, rounds = np.random.default_rng(5), 0, 1000
    names = [i // 5 if i < 50 else i for i in range(100)]
    for _ in range(rounds):
        shared = draw.normal(0, 0.5, 100)[names]
        ours, theirs = (draw.lognormal(4 + shared, 0.5) for _ in range(2))
        _, low, high = mean_interval(list(ours - 1.1 * theirs), 0.95, names)
        truth = (1 - 1.1) * math.exp(4 + (0.5**2 + 0.5**2) / 2)
        missed += not low <= truth <= high
    assert 0.03 <= missed / rounds <= 0.08


def test_holm_by_hand():
    """0.01 * 4, then 0.02 * 3, then max(0.06, 0.03 * 2) and max(0.06, 0.04)."""
    one = compare_pairs(Arm.RESTORED, Arm.BASE, "benign.refused", pairs_of(9, 3, 2, 9), 0.95)
    raw = (0.04, 0.01, 0.03, 0.02)
    adjusted = with_holm([one.model_copy(update={"p_value": p}) for p in raw])
    assert [d.p_holm for d in adjusted] == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert [d.p_value for d in adjusted] == list(raw)
    assert with_holm([]) == ()
