"""Rates, their differences and what is told about them, with clusters of prompts as the units.

A prompt may have one completion or several, and prompts may be near-copies of one another. What
belongs together resembles itself, so clusters (a prompt alone, or near-copies) are what is counted
as independent. With one completion a prompt and no near-copies all of it is the textbook's:
Wilson's interval, Tango's and McNemar's exact test.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from components.core.errors import EvidenceError
from components.core.result import RateFigure, wilson_interval
from components.core.vocabulary import AnyArm
from components.evaluate.result import Difference

Samples = Sequence[bool]  # whether each completion of one prompt counts; at least one
# The cluster of each prompt, by any name; None: every prompt is one of its own.
Clusters = Sequence[Hashable] | None
Floats = NDArray[np.float64]


def rate_of(prompts: Sequence[Samples], confidence: float, clusters: Clusters = None) -> RateFigure:
    """Return the share of completions that count, with its interval; `n` is that of the prompts.

    It is Wilson's with the effective number of completions, which is their number over the design
    effect (Rao and Scott 1992, Biometrics 48:577-585). Zero prompts raise `EvidenceError`.
    """
    counts, samples = _totals(prompts)
    places, number = _places(clusters, len(prompts))
    if samples.sum() == number:
        return RateFigure.of(int(counts.sum()), len(prompts), confidence)
    rate = float(counts.sum() / samples.sum())
    effect = design_effect(_sums(counts, places), _sums(samples, places))
    low, high = wilson_interval(rate, float(samples.sum()) / effect, confidence)
    return RateFigure(
        rate=rate,
        low=min(low, rate),
        high=max(high, rate),
        count=int(counts.sum()),
        n=len(prompts),
        samples=int(samples.sum()) if samples.sum() > len(prompts) else None,
        clusters=number if number < len(prompts) else None,
    )


def design_effect(counts: Floats, samples: Floats) -> float:
    """Return how many times the rate's variance is that of as many independent completions.

    Both are (cluster,): how many completions count, and how many there are. The effect lies between
    1 (the completions of a cluster are as different as those of different clusters) and about the
    size of the clusters (they are all alike). Two made-up clusters are counted in, one whose
    completions all count and one whose never do: without them the effect of a rate of 0 or 1 is
    undefined, and that of a rate close by is anything. Their size is that which a completion finds
    its cluster to have on average, so that a rate of 0 or 1 counts as of Kish's effective number
    (1965, Survey Sampling). Without Rao and Scott's factor n / (n - 1) it is 1 where every cluster
    has one completion.
    """
    usual = _usual(samples)
    counts = np.append(counts, [usual, 0.0])
    samples = np.append(samples, [usual, usual])
    rate = counts.sum() / samples.sum()
    between = ((counts - rate * samples) ** 2).sum()
    return max(float(between / (samples.sum() * rate * (1 - rate))), 1.0)


def _usual(sizes: Floats) -> float:
    """Return the mean size of a cluster, as those in it find it."""
    return float((sizes**2).sum() / sizes.sum())


def _sums(numbers: Floats, places: NDArray[np.int64]) -> Floats:
    """Return the sum of the prompts' numbers in each cluster."""
    return np.bincount(places, numbers).astype(np.float64)


def _totals(prompts: Sequence[Samples]) -> tuple[Floats, Floats]:
    """Return how many completions of each prompt count, and how many it has: (prompt,) each."""
    if not prompts or not all(prompts):
        raise EvidenceError("a rate of zero prompts, or of a prompt without completions, is none")
    counts = np.array([sum(samples) for samples in prompts], dtype=np.float64)
    return counts, np.array([len(samples) for samples in prompts], dtype=np.float64)


def _places(clusters: Clusters, prompts: int) -> tuple[NDArray[np.int64], int]:
    """Return the number of each prompt's cluster, from 0, and how many clusters there are."""
    if clusters is None:
        return np.arange(prompts), prompts
    numbers: dict[Hashable, int] = {}
    places = [numbers.setdefault(cluster, len(numbers)) for cluster in clusters]
    return np.array(places, dtype=np.int64), len(numbers)


# --- two arms on the same prompts ------------------------------------------------------------


def compare_pairs(
    arm: AnyArm,
    against: AnyArm,
    metric: str,
    pairs: Sequence[tuple[Samples, Samples]],
    confidence: float,
    clusters: Clusters = None,
) -> Difference:
    """Return the difference in rates, `arm` - `against`, from both arms' completions by prompt.

    The p-value is that of McNemar's exact test; with several completions a prompt, of the exact
    sign test on the prompts' shares, which is the same thing, and with near-copies on the sums of
    their clusters; where these lean the other way than the difference, it is 1.
    """
    difference, low, high = paired_interval(pairs, confidence, clusters)
    gaps = np.array([sum(a) / len(a) - sum(b) / len(b) for a, b in pairs])
    places, number = _places(clusters, len(pairs))
    # Shares such as 1/3 add up to nothing but for rounding.
    of_clusters = _sums(gaps, places).round(9)
    up, down = int((of_clusters > 0).sum()), int((of_clusters < 0).sum())
    leans_otherwise = (up - down) * difference < 0  # a large cluster weighs more in the difference
    return Difference(
        arm=arm,
        against=against,
        metric=metric,
        difference=difference,
        low=low,
        high=high,
        n=len(pairs),
        gained=int((gaps > 0).sum()),
        lost=int((gaps < 0).sum()),
        clusters=number if number < len(pairs) else None,
        p_value=1.0 if leans_otherwise else mcnemar_p(up, down),
    )


def paired_interval(
    pairs: Sequence[tuple[Samples, Samples]], confidence: float, clusters: Clusters = None
) -> tuple[float, float, float]:
    """Return the difference in rates, first - second, and both ends of its interval.

    It is Tango's. With several completions a prompt the cells of the fourfold table are the shares
    of all pairs of one completion of each arm; with these, or with near-copies, their number is
    that of the prompts over `paired_design_effect`. Zero prompts raise `EvidenceError`.
    """
    ours, of_ours = _totals([first for first, _ in pairs])
    theirs, of_theirs = _totals([second for _, second in pairs])
    hits, samples = np.stack([ours, theirs]), np.stack([of_ours, of_theirs])
    places, _ = _places(clusters, len(pairs))
    difference, discordant, _ = _paired_moments(hits, samples, places)
    size = len(pairs) / paired_design_effect(hits, samples, places)
    gained, lost = (size * (discordant + sign * difference) / 2 for sign in (1, -1))
    low, high = tango_interval(gained, lost, size, confidence)
    # Rounding must not leave the figure outside its interval, where no rule could be decided.
    return difference, min(low, difference), max(high, difference)


def tango_interval(gained: float, lost: float, n: float, confidence: float) -> tuple[float, float]:
    """Return both ends of the interval of `(gained - lost) / n`; none of the three need be whole.

    The differences that the score test keeps (Tango 1998, Stat Med 17:891-908). It takes the
    variance at the likeliest table with that difference, so the pairs that agree do not matter.
    Where no pair differs it is Wilson's, unlike Wald's interval and the bootstrap, which have no
    width there.
    """
    found = (gained - lost) / n
    z = NormalDist().inv_cdf((1 + confidence) / 2)

    def keeps(truth: float) -> bool:
        slope = (2 * n - gained + lost) * truth - gained - lost
        root = math.sqrt(max(slope**2 + 8 * n * lost * truth * (1 - truth), 0.0))
        share_lost = (root - slope) / (4 * n)
        variance = 2 * share_lost + truth * (1 - truth)
        return n * (found - truth) ** 2 <= z**2 * variance

    def end(inside: float, outside: float) -> float:
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if keeps(middle) else (inside, middle)
        return inside

    return end(found, -1.0), end(found, 1.0)


def paired_design_effect(hits: Floats, samples: Floats, places: NDArray[np.int64]) -> float:
    """Return how many times the difference's variance is that of one completion a prompt and arm.

    The first two are (arm, prompt), `places` is the number of each prompt's cluster. The effect
    lies between about 1 over the number of completions (only chance sets those of a prompt apart)
    and about the size of the clusters (all in one are alike). Two made-up clusters are counted in,
    one that is wholly gained and one that is wholly lost, each as large as a prompt finds its
    own on average: without them the effect is undefined where no prompt differs, and anything where
    few do.
    """
    usual, size = samples.mean(), _usual(np.bincount(places).astype(np.float64))
    made_up = np.full((2, 2), usual * size)
    hits, samples = np.hstack([hits, np.diag(np.diag(made_up))]), np.hstack([samples, made_up])
    last = places.max()
    places = np.append(places, [last + 1, last + 2])
    difference, discordant, variance = _paired_moments(hits, samples, places)
    prompts = hits.shape[1] - 2 + 2 * size
    effect = variance * prompts / (discordant - difference**2)
    return max(float(effect), 1 / float(usual))


def _paired_moments(
    hits: Floats, samples: Floats, places: NDArray[np.int64]
) -> tuple[float, float, float]:
    """Return the difference in rates, the share of pairs that differ and the former's variance,
    with clusters as the units."""
    totals = samples.sum(axis=1, keepdims=True)
    rates = hits.sum(axis=1, keepdims=True) / totals
    shares, weights = hits / samples, samples.sum(axis=0) / totals.sum()
    discordant = (weights * (shares.sum(axis=0) - 2 * shares.prod(axis=0))).sum()
    gaps = _sums(np.subtract(*((hits - rates * samples) / totals)), places)
    difference = float(rates[0, 0] - rates[1, 0])
    return difference, max(float(discordant), abs(difference)), float((gaps**2).sum())


def mcnemar_p(gained: int, lost: int) -> float:
    """Return the two-sided p-value of the exact McNemar test; 1 without discordant pairs.

    Twice the chance that so many tosses of a coin show its rarer side no more often.
    """
    from scipy.special import bdtr  # much lighter than scipy.stats

    return min(2 * float(bdtr(min(gained, lost), gained + lost, 0.5)), 1.0)


def mean_interval(
    gaps: Sequence[float], confidence: float, clusters: Clusters = None
) -> tuple[float, float, float]:
    """Return the mean of a number, such as tokens more than another arm's, and both ends of its
    interval.

    `gaps` holds one number a prompt, the mean over its completions. It is Student's, with clusters
    as the units: the mean is a ratio of their sums to their sizes, its variance the linearised one
    (Cochran 1977, Sampling Techniques, chapter 9A, of an endless population), and their number
    Kish's effective one, since a large cluster tells as little as a small one. Where that is below
    2, nothing is known of other clusters, and the interval is from the smallest to the greatest
    number. For shares it is no good, nor where few prompts differ: where none does it has no width.
    Zero prompts raise `EvidenceError`.
    """
    from scipy.special import stdtrit  # much lighter than scipy.stats

    numbers = np.asarray(gaps, dtype=np.float64)
    if not len(numbers):
        raise EvidenceError("a mean over zero prompts has no interval")
    mean = float(numbers.mean())
    places, _ = _places(clusters, len(numbers))
    effective = len(numbers) / _usual(np.bincount(places).astype(np.float64))
    if effective < 2:
        return mean, min(float(numbers.min()), mean), max(float(numbers.max()), mean)
    residues = _sums(numbers - mean, places)
    error = math.sqrt((residues**2).sum() * effective / (effective - 1)) / len(numbers)
    reach = float(stdtrit(effective - 1, (1 + confidence) / 2)) * error
    return mean, mean - reach, mean + reach


def with_holm(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """Return the differences with Holm's p-values, adjusted over all of them (Holm 1979, Scand J
    Stat 6:65-70): the k-th smallest of m times m - k + 1, and no smaller than one before it.

    They are what a page tells side by side, and somebody will look for the smallest one. The gate
    needs no such thing: it accepts only where all of its rules pass.
    """
    adjusted, largest = [1.0] * len(differences), 0.0
    order = sorted(range(len(differences)), key=lambda i: differences[i].p_value)
    for before, i in enumerate(order):
        largest = max(largest, (len(differences) - before) * differences[i].p_value)
        adjusted[i] = min(largest, 1.0)
    return tuple(
        d.model_copy(update={"p_holm": p}) for d, p in zip(differences, adjusted, strict=True)
    )
