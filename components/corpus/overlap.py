"""Training texts that repeat test texts, by shared runs of words.

Two texts overlap when they share a run of `ngram` words. A text of fewer words overlaps with every
text that contains all of it; below `SHORTEST_RUN` words only with its equal, since "how are you"
inside another prompt gives nothing away.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from components.corpus.sources import Candidate
from components.corpus.text import words
from components.records import Split

log = logging.getLogger(__name__)

SHORTEST_RUN = 4


def drop_leaks(
    candidates: Sequence[Candidate], *, ngram: int
) -> tuple[list[Candidate], dict[str, int]]:
    """Return the candidates without training and validation rows that overlap with a test row,
    and how many each source lost. Test rows all stay."""
    test = [candidate.text for candidate in candidates if candidate.split == Split.TEST]
    others = [candidate for candidate in candidates if candidate.split != Split.TEST]
    leaks = find_leaks([candidate.text for candidate in others], test, ngram=ngram)
    lost = {id(candidate) for candidate, leak in zip(others, leaks, strict=True) if leak}
    dropped = Counter(candidate.source for candidate in others if id(candidate) in lost)
    if lost:
        log.info("%d training and validation rows dropped: they repeat test rows", len(lost))
    kept = [candidate for candidate in candidates if id(candidate) not in lost]
    return kept, dict(sorted(dropped.items()))


def find_leaks(texts: Sequence[str], test: Sequence[str], *, ngram: int) -> list[bool]:
    """Return for each text whether it overlaps with any of the `test` texts."""
    own = [words(text) for text in texts]
    held = [words(text) for text in test]
    equal = {" ".join(text) for text in held}
    short_lengths = {len(text) for text in own if SHORTEST_RUN <= len(text) < ngram}
    # Runs of the test texts by length: all runs of the lengths that matter, and whole short texts.
    contained = {n: {run for text in held for run in _runs(text, n)} for n in short_lengths}
    searched: dict[int, set[str]] = defaultdict(set)
    for text in held:
        if len(text) >= ngram:
            searched[ngram].update(_runs(text, ngram))
        elif len(text) >= SHORTEST_RUN:
            searched[len(text)].add(" ".join(text))

    def leaks(text: list[str]) -> bool:
        whole = " ".join(text)
        return (
            whole in equal
            or whole in contained.get(len(text), ())
            or any(run in runs for n, runs in searched.items() for run in _runs(text, n))
        )

    return [leaks(text) for text in own]


def _runs(text: Sequence[str], length: int) -> Iterator[str]:
    return (" ".join(text[i : i + length]) for i in range(len(text) - length + 1))
