"""Topics and splits: near-duplicates share a topic, and a topic lies wholly in one split.

Rows that name no topic are grouped: two texts are near-duplicates when the cosine of their TF-IDF
vectors of content words reaches a threshold; the connected components are the topics. Prefix
filtering (after Bayardo, Ma and Srikant 2007) finds the pairs without comparing all. Words are
ordered from rare to common and a tail shorter than half the threshold is cut off each unit vector,
so the cosine exceeds the product of two heads by at most the length of what one of them lost.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer

from components.core.vocabulary import Split
from components.prepare.sources import Candidate
from components.prepare.text import words

log = logging.getLogger(__name__)

AUTO = "auto"
SIMILARITY = 0.5
# Pairs that share only words of more rows than this are not looked at: it bounds the time.
MOST_ROWS_A_WORD = 1000
_CHUNK = 500
_ROUNDING = 1e-9  # equal sums may differ in their last bits from machine to machine


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
    missing = {
        split: {role: shares[split] * total for role, total in totals.items()}
        for split in Split
        if shares[split] > 0
    }

    def gain(split: Split, size: Counter[str]) -> float:
        """Return how far the squared distances shrink when `size` rows a role are added."""
        return sum(
            (2 * missing[split][role] * rows - rows**2) / totals[role] ** 2
            for role, rows in size.items()
        )

    names = sorted(sizes)
    drawn = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    chosen: dict[str, Split] = {}
    for topic in sorted(drawn, key=lambda name: -sizes[name].total()):
        chosen[topic] = max(missing, key=lambda split: gain(split, sizes[topic]))
        for role, size in sizes[topic].items():
            missing[chosen[topic]][role] -= size
    return [chosen[topic] for topic in topics]


def fill_topics(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates in order, each with a topic.

    Rows of one role without a topic are grouped by similarity, over all sources; a group's topic
    is `similar-` and the smallest id in it.
    """
    filled = list(candidates)
    for role in sorted({candidate.role for candidate in candidates}):
        bare = [i for i, c in enumerate(candidates) if c.role == role and c.topic is None]
        if not bare:
            continue
        groups = group_similar([candidates[i].text for i in bare])
        smallest: dict[int, str] = {}
        for group, name in sorted(zip(groups, (candidates[i].id for i in bare), strict=True)):
            smallest.setdefault(group, name)
        for i, group in zip(bare, groups, strict=True):
            filled[i] = replace(candidates[i], topic=f"similar-{smallest[group]}")
        log.info("%s: %d rows without a topic, %d topics derived", role, len(bare), len(smallest))
    return filled


def group_similar(texts: Sequence[str], *, similarity: float = SIMILARITY) -> list[int]:
    """Return a group's number for every text; near-duplicates, and theirs in turn, share one."""
    vectors = TfidfVectorizer(analyzer=_content_words, sublinear_tf=True).fit_transform(texts)
    frequency = np.bincount(vectors.indices, minlength=vectors.shape[1])
    rare_first = sparse.csr_array(vectors)[:, np.argsort(frequency, kind="stable")]
    rare_first.sort_indices()
    pairs = list(_similar_pairs(rare_first, similarity))
    left, right = (np.concatenate(side) for side in zip(*pairs, strict=True))
    shape = (len(texts), len(texts))
    links = sparse.coo_array((np.ones(len(left), dtype=bool), (left, right)), shape=shape)
    return connected_components(links, directed=False)[1].tolist()


def _content_words(text: str) -> list[str]:
    everything = words(text)
    return [word for word in everything if word not in ENGLISH_STOP_WORDS] or everything


def _similar_pairs(
    vectors: sparse.csr_array, similarity: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows (left, right), left < right, whose cosine reaches `similarity`."""
    heads, lost = _heads(vectors, similarity / 2)
    across = heads.T.tocsr()
    for start in range(0, vectors.shape[0], _CHUNK):
        shared = (heads[start : start + _CHUNK] @ across).tocoo()
        left, right = shared.coords[0] + start, shared.coords[1]
        bound = shared.data + np.maximum(lost[left], lost[right])
        possible = (left < right) & (bound >= similarity - _ROUNDING)
        left, right = left[possible], right[possible]
        cosine = vectors[left].multiply(vectors[right]).sum(axis=1)
        near = np.asarray(cosine).ravel() >= similarity - _ROUNDING
        yield left[near], right[near]


def _heads(vectors: sparse.csr_array, tail: float) -> tuple[sparse.csr_array, np.ndarray]:
    """Return the rows without a tail shorter than `tail` and without the words of too many rows,
    and the length that each row lost."""
    squares = vectors.data**2
    before = np.concatenate([[0.0], np.cumsum(squares)])[:-1]
    starts = np.repeat(before[vectors.indptr[:-1]], np.diff(vectors.indptr))
    remaining = 1 - (before - starts)  # squared length of what begins at this word
    frequency = np.bincount(vectors.indices, minlength=vectors.shape[1])
    stays = (remaining >= tail**2) & (frequency[vectors.indices] <= MOST_ROWS_A_WORD)
    heads = vectors.copy()
    heads.data = np.where(stays, vectors.data, 0.0)
    heads.eliminate_zeros()
    lost = np.sqrt(np.clip(1 - heads.multiply(heads).sum(axis=1), 0, None))
    return heads, np.asarray(lost).ravel()
