"""Texts of training that repeat test texts, by shared runs of words.

Two texts overlap when they share a run of `ngram` words. A text of fewer words overlaps with every
text that contains all of it; below `SHORTEST_RUN` words only with its equal, since "how are you"
inside another prompt gives nothing away. Words are compared without case, accents and punctuation.

Runs are compared by 64-bit digests (Karp and Rabin 1987: polynomials, here over the ring
of 64-bit integers), so two different ones are taken for the same with a chance of about 2 ** -64 a
pair. Memory holds the test texts' digests and one chunk of the others.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.core.vocabulary import Prompt
from components.prepare.sources import Candidate
from components.prepare.text import words

SHORTEST_RUN = 4
SHARED_RUN = 5  # words of the runs behind `HeldOut.shares`
_ACCENTS = re.compile("[\u0300-\u036f]")
_CHUNK = 4_000_000  # characters compared at once
_BASE = 0x9E3779B97F4A7C15  # odd, so that its powers never vanish; 2 ** 64 over the golden ratio

Digests = NDArray[np.uint64]
Owners = NDArray[np.int64]  # for each digest the text that it comes from


class HeldOut:
    """Test texts, and what of them was found in the texts that they were compared with."""

    def __init__(self, test: Sequence[str], *, ngram: int) -> None:
        """Hold the `test` texts against runs of `ngram` words."""
        self._ngram, self._count = ngram, len(test)
        self._seen: dict[str, int] = {}
        own = _encode(test, self._seen)
        self._whole = _Table(*own.wholes())
        self._share = _Table(*own.runs(SHARED_RUN))
        self._run = _Table(*own.runs(ngram))
        shorter = range(SHORTEST_RUN, ngram)
        # Short test texts, which longer texts may hold, and what a short text may stand within.
        self._short = {n: _Table(*own.wholes(n)) for n in shorter}
        self._part = {n: _Table(*own.runs(n)) for n in shorter}

    def find(self, rows: Sequence[Candidate | Prompt]) -> NDArray[np.bool_]:
        """Return for each row whether its prompt, thought or response overlaps with a test text."""
        parts = [
            (i, text)
            for i, row in enumerate(rows)
            for text in (row.text, row.thought, row.response)
            if text
        ]
        found = np.zeros(len(rows), dtype=bool)
        leaks = self.compare([text for _, text in parts])
        np.logical_or.at(found, np.array([i for i, _ in parts], dtype=np.int64), leaks)
        return found

    def compare(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return for each text whether it overlaps with a test text, and remember with which."""
        leaks = np.zeros(len(texts), dtype=bool)
        for start, chunk in _chunks(texts):
            own = _encode(chunk, self._seen)
            compared = [(self._whole, own.wholes()), (self._run, own.runs(self._ngram))]
            compared += [(table, own.runs(n)) for n, table in self._short.items() if len(table)]
            compared += [(table, own.wholes(n)) for n, table in self._part.items()]
            for table, (digests, owners) in compared:
                leaks[start + owners[table.match(digests)]] = True
            self._share.match(own.runs(SHARED_RUN)[0])
        return leaks

    @property
    def repeated(self) -> NDArray[np.bool_]:
        """For each test text whether it overlaps with a text that it was compared with."""
        tables = (self._whole, self._run, *self._short.values(), *self._part.values())
        return np.logical_or.reduce([table.found_of(self._count) > 0 for table in tables])

    @property
    def copied(self) -> NDArray[np.bool_]:
        """For each test text whether such a text equals it."""
        return self._whole.found_of(self._count) > 0

    @property
    def shares(self) -> NDArray[np.float64]:
        """The share of each test text's runs of `SHARED_RUN` words that was found, whichever texts
        they were found in; not a number for a shorter text."""
        runs = np.bincount(self._share.owners, minlength=self._count)
        found = self._share.found_of(self._count)
        return np.divide(found, runs, out=np.full(self._count, np.nan), where=runs > 0)


class _Table:
    """Digests of the test texts with their owners, and which of them were found."""

    def __init__(self, digests: Digests, owners: Owners) -> None:
        self._distinct, self._place = np.unique(digests, return_inverse=True)
        self.owners = owners
        self._found = np.zeros(len(self._distinct), dtype=bool)

    def __len__(self) -> int:
        return len(self._distinct)

    def match(self, digests: Digests) -> NDArray[np.bool_]:
        """Return which of the digests are here, and mark those as found."""
        if not len(self) or not len(digests):
            return np.zeros(len(digests), dtype=bool)
        place = np.searchsorted(self._distinct, digests)
        place[place == len(self)] = 0
        here = self._distinct[place] == digests
        self._found[place[here]] = True
        return here

    def found_of(self, count: int) -> NDArray[np.int64]:
        """Return how many digests of each of `count` texts were found."""
        return np.bincount(self.owners[self._found[self._place]], minlength=count)


@dataclass(frozen=True, slots=True)
class _Encoded:
    """Texts as digests of their words (word,), one text behind the other; each has a word."""

    digests: Digests
    lengths: NDArray[np.int64]  # (text,) in words

    def runs(self, length: int) -> tuple[Digests, Owners]:
        """Return the digest of every run of `length` words, and the text it lies in."""
        owners = np.repeat(np.arange(len(self.lengths)), self.lengths)
        count = max(len(owners) - length + 1, 0)
        inside = owners[:count] == owners[length - 1 :]
        runs = np.zeros(count, dtype=np.uint64)
        for position, power in enumerate(_powers(length)):
            runs += self.digests[position : position + count] * power
        return runs[inside], owners[:count][inside]

    def wholes(self, length: int | None = None) -> tuple[Digests, Owners]:
        """Return the digest of every text, or of those of `length` words, and which text it is."""
        if not len(self.lengths):
            return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
        starts = np.cumsum(self.lengths) - self.lengths
        positions = np.arange(len(self.digests)) - np.repeat(starts, self.lengths)
        weighted = self.digests * _powers(int(self.lengths.max()))[positions]
        sums = np.add.reduceat(weighted, starts)
        wanted = slice(None) if length is None else self.lengths == length
        return sums[wanted], np.arange(len(sums))[wanted]


def _encode(texts: Sequence[str], seen: dict[str, int]) -> _Encoded:
    """Return the texts as digests of their words; `seen` holds those that were met before."""
    split = [words(_without_accents(text)) for text in texts]
    for word in {word for text in split for word in text} - seen.keys():
        digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
        seen[word] = int.from_bytes(digest, "little")
    lengths = np.array([len(text) for text in split], dtype=np.int64)
    every = (seen[word] for text in split for word in text)
    return _Encoded(np.fromiter(every, dtype=np.uint64, count=int(lengths.sum())), lengths)


def _without_accents(text: str) -> str:
    return text if text.isascii() else _ACCENTS.sub("", unicodedata.normalize("NFKD", text))


def _powers(count: int) -> Digests:
    """Return the powers 0 … count - 1 of the base, modulo 2 ** 64."""
    factors = np.full(count, _BASE, dtype=np.uint64)
    factors[0] = 1
    return np.cumprod(factors)


def _chunks(texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield runs of texts that are about so many characters long, each with its first's place."""
    start = size = 0
    for end, text in enumerate(texts, start=1):
        size += len(text)
        if size >= _CHUNK or end == len(texts):
            yield start, texts[start:end]
            start, size = end, 0
