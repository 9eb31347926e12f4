"""Prompts that are near-copies of one another: what counts as one in intervals and tests.

Ten wordings of one request are hardly more evidence than one of them. Two texts are near-copies
where at least half of the runs of three words that either has are in both (the Jaccard index of
Broder 1997, "On the resemblance and containment of documents"), compared without case, accents and
punctuation; what such pairs link is one cluster. Numbers are words: problems of one template with
other numbers and names are near-copies where little else of their text differs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from components.core.vocabulary import Prompt, Split
from components.prepare.result import ClusterFigure, Together, suite_of
from components.prepare.text import plain_words

RUN = 3  # words
ALIKE = 0.5  # share of the runs of both
_BLOCK = 256  # texts that are compared with all others at once


def with_clusters(
    prompts: Sequence[Prompt], suites: Iterable[str], together: Mapping[str, Together]
) -> list[Prompt]:
    """Return the prompts with their clusters, each within its split and its suite.

    `together` says of every source what counts as one. Training prompts are given none: nothing is
    counted on them.
    """
    named = set(suites)
    groups: dict[Hashable, list[int]] = {}
    for place, prompt in enumerate(prompts):
        if prompt.split is not Split.TRAIN:
            suite = suite_of(prompt.source, prompt.role, named)
            groups.setdefault((prompt.split, suite), []).append(place)
    found = list(prompts)
    for places in groups.values():
        own = [prompts[place] for place in places]
        for place, cluster in zip(places, _clusters(own, together), strict=True):
            found[place] = replace(found[place], cluster=cluster)
    return found


def _clusters(prompts: Sequence[Prompt], together: Mapping[str, Together]) -> list[str | None]:
    """Return the id of the first prompt of each one's cluster; None where it stands alone."""
    topics = [
        (prompt.source, prompt.topic) if together.get(prompt.source) == "topics" else place
        for place, prompt in enumerate(prompts)
    ]
    labels = near_copies([prompt.text for prompt in prompts], topics)
    sizes, first = Counter(labels), dict[int, str]()
    for label, prompt in zip(labels, prompts, strict=True):
        first.setdefault(label, prompt.id)
    return [first[label] if sizes[label] > 1 else None for label in labels]


def near_copies(texts: Sequence[str], known: Sequence[Hashable] | None = None) -> list[int]:
    """Return for each text the number of its cluster; texts with one `known` mark are in one."""
    first: dict[Hashable, int] = {}
    marks = known if known is not None else range(len(texts))
    labels = np.array([first.setdefault(mark, len(first)) for mark in marks], dtype=np.int64)
    for pairs in _alike(texts):
        labels = _joined(labels, pairs)
    return [int(label) for label in labels]


def _joined(labels: NDArray[np.int64], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the labels of clusters after those of each pair of texts have become one."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    one, other = np.unique(labels[pairs], axis=1)
    shape = (int(labels.max()) + 1,) * 2
    graph = coo_array((np.ones(len(one), dtype=np.int8), (one, other)), shape=shape)
    return connected_components(graph, directed=False)[1][labels]


def _alike(texts: Sequence[str]) -> Iterator[NDArray[np.int64]]:
    """Yield, for a block of texts after the other, the places of both texts of each pair of
    near-copies: (2, pair)."""
    from scipy.sparse import csr_array

    numbers: dict[Hashable, int] = {}
    runs = [[numbers.setdefault(run, len(numbers)) for run in _runs(text)] for text in texts]
    sizes = np.array([len(own) for own in runs], dtype=np.int64)
    columns = np.array([run for own in runs for run in own], dtype=np.int64)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    table = csr_array(
        (np.ones(len(columns), dtype=np.int32), columns, ends), shape=(len(texts), len(numbers))
    )
    for start in range(0, len(texts), _BLOCK):
        shared = (table[start : start + _BLOCK] @ table.T).tocoo()
        one, other = shared.row + start, shared.col
        either = sizes[one] + sizes[other] - shared.data
        yield np.stack([one, other])[:, shared.data >= ALIKE * either]


def _runs(text: str) -> set[tuple[str, ...]]:
    own = plain_words(text)
    return {tuple(own[i : i + RUN]) for i in range(max(len(own) - RUN + 1, 1))}


def cluster_figures(prompts: Sequence[Prompt], suites: Iterable[str]) -> tuple[ClusterFigure, ...]:
    """Return of every suite with near-copies among its test prompts how many count as independent,
    the suites of the roles first."""
    named = set(suites)
    found: dict[str, Counter[str]] = {}
    for prompt in (p for p in prompts if p.split is Split.TEST):
        suite = suite_of(prompt.source, prompt.role.value, named)
        found.setdefault(suite, Counter())[prompt.cluster or prompt.id] += 1
    return tuple(
        ClusterFigure(
            suite=suite, prompts=sizes.total(), clusters=len(sizes), largest=max(sizes.values())
        )
        for suite, sizes in sorted(found.items(), key=lambda item: (item[0] in named, item[0]))
        if len(sizes) < sizes.total()
    )
