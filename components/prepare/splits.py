"""Splits by topic: a topic lies wholly in one split, and every role gets its share of each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from components.core.vocabulary import Split
from components.prepare.sources import Candidate

AUTO = "auto"


def place(
    candidates: Sequence[Candidate], *, validation_share: float, test_share: float, seed: int
) -> list[Candidate]:
    """Return the candidates in order, those of automatic sources placed by topic."""
    automatic = [i for i, candidate in enumerate(candidates) if candidate.split == AUTO]
    splits = split_by_topic(
        [candidates[i].topic or "" for i in automatic],
        [candidates[i].role for i in automatic],
        shares={
            Split.TRAIN: 1 - validation_share - test_share,
            Split.VALIDATION: validation_share,
            Split.TEST: test_share,
        },
        seed=seed,
    )
    placed = list(candidates)
    for i, split in zip(automatic, splits, strict=True):
        placed[i] = replace(candidates[i], split=split.value)
    return placed


def split_by_topic(
    topics: Sequence[str], roles: Sequence[str], *, shares: Mapping[Split, float], seed: int
) -> list[Split]:
    """Return the split of every row; rows of one topic, whatever their role, share it.

    The topics go one by one, largest first and equals in an order drawn by the seed, to the split
    where they bring the rows of each role closest to its share: the choice with the smallest sum
    of squared distances, each as a part of its role. Splits of share 0 stay empty.
    """
    sizes: dict[str, Counter[str]] = defaultdict(Counter)
    for topic, role in zip(topics, roles, strict=True):
        sizes[topic][role] += 1
    totals = Counter(roles)
    open_splits = [split for split in Split if shares[split] > 0]
    missing = {
        split: {role: shares[split] * total for role, total in totals.items()}
        for split in open_splits
    }
    chosen: dict[str, Split] = {}
    for topic in _largest_first(sizes, seed):
        gains = [_gain(missing[split], sizes[topic], totals) for split in open_splits]
        best = open_splits[int(np.argmax(gains))]
        chosen[topic] = best
        for role, size in sizes[topic].items():
            missing[best][role] -= size
    return [chosen[topic] for topic in topics]


def _largest_first(sizes: Mapping[str, Counter[str]], seed: int) -> list[str]:
    names = sorted(sizes)
    order = np.random.default_rng(seed).permutation(len(names))
    return sorted((names[i] for i in order), key=lambda name: -sizes[name].total())


def _gain(missing: Mapping[str, float], size: Counter[str], totals: Counter[str]) -> float:
    """Return how far the squared distances shrink when `size` rows a role are added."""
    return sum(
        (2 * missing[role] * rows - rows**2) / totals[role] ** 2 for role, rows in size.items()
    )
