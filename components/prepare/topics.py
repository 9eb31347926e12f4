"""Topics for rows that name none: near-duplicates and paraphrases share one.

Two texts are near-duplicates when the cosine of their TF-IDF vectors of content words reaches a
threshold; the connected components are the topics. Prefix filtering (after Bayardo, Ma and Srikant
2007) finds the pairs without comparing all. Words are ordered from rare to common and a tail
shorter than half the threshold is cut off each unit vector, so the cosine exceeds the product of
two heads by at most the length of what one of them lost.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer

from components.prepare.sources import Candidate
from components.prepare.text import words

log = logging.getLogger(__name__)

SIMILARITY = 0.5
# Pairs that share only words of more rows than this are not looked at: it bounds the time.
MOST_ROWS_A_WORD = 1000
_CHUNK = 500
_ROUNDING = 1e-9  # equal sums may differ in their last bits from machine to machine


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
        for i, group in zip(bare, groups, strict=True):
            smallest[group] = min(smallest.get(group, candidates[i].id), candidates[i].id)
        for i, group in zip(bare, groups, strict=True):
            filled[i] = replace(candidates[i], topic=f"similar-{smallest[group]}")
        log.info("%s: %d rows without a topic, %d topics derived", role, len(bare), len(smallest))
    return filled


def group_similar(texts: Sequence[str], *, similarity: float = SIMILARITY) -> list[int]:
    """Return a group's number for every text; near-duplicates, and theirs in turn, share one."""
    vectors = TfidfVectorizer(analyzer=_content_words, sublinear_tf=True).fit_transform(texts)
    count = len(texts)
    pairs = list(_similar_pairs(_rare_first(vectors), similarity))
    left = np.concatenate([pair[0] for pair in pairs])
    right = np.concatenate([pair[1] for pair in pairs])
    links = sparse.coo_array((np.ones(len(left), dtype=bool), (left, right)), shape=(count, count))
    return connected_components(links, directed=False)[1].tolist()


def _content_words(text: str) -> list[str]:
    everything = words(text)
    return [word for word in everything if word not in ENGLISH_STOP_WORDS] or everything


def _rare_first(vectors: sparse.csr_matrix) -> sparse.csr_array:
    frequency = np.bincount(vectors.indices, minlength=vectors.shape[1])
    ordered = sparse.csr_array(vectors)[:, np.argsort(frequency, kind="stable")]
    ordered.sort_indices()
    return ordered


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
    kept = (remaining >= tail**2) & (frequency[vectors.indices] <= MOST_ROWS_A_WORD)
    heads = vectors.copy()
    heads.data = np.where(kept, vectors.data, 0.0)
    heads.eliminate_zeros()
    lost = np.sqrt(np.clip(1 - heads.multiply(heads).sum(axis=1), 0, None))
    return heads, np.asarray(lost).ravel()
