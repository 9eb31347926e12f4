"""Training rows that repeat test rows: dropped, and counted for every evaluation suite.

Training is the prompts, chains of thought and responses of the training and validation rows. What
else the adapter learns from are completions of the post-trained model and of its teacher to those
same prompts, so no test prompt reaches it in another way. Three measures, each over the prompts of
one suite, before and after dropping:

- `run`: training overlaps with the prompt: they share a run of `ngram` words. A text of fewer words
  overlaps with every text that contains all of it; below `SHORTEST_RUN` words only with its equal,
  since "how are you" inside another prompt gives nothing away;
- `copy`: a text of training equals the prompt but for case, accents, punctuation and white space,
  without which all words are compared;
- `share`: at least half of the prompt's runs of five words occur in training, whichever texts they
  come from. After PaLM (Chowdhery et al. 2022, arXiv 2204.02311, section 8), which has 70 % of the
  runs of eight words: shorter runs and a lower share, since rows that share long runs are gone.
  Prompts that are built from one template flag each other, so it is reported and decides nothing.

Runs are compared by 64-bit digests (Karp and Rabin 1987: polynomials, here over the ring
of 64-bit integers), so two different ones are taken for the same with a chance of about 2 ** -64 a
pair. Memory holds the test texts' digests and one chunk of the others.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.core.errors import DataError
from components.core.result import RateFigure
from components.core.vocabulary import Prompt, Role, Split
from components.prepare.result import LeakFigure, LeakMeasure, suite_of
from components.prepare.sources import Candidate
from components.prepare.text import plain_words

log = logging.getLogger(__name__)

SHARED = 0.5  # share of a prompt's runs from which on it is flagged
CONFIDENCE = 0.95
_NAMED = 5  # prompts that a figure names
_LONGER_RUNS = (12, 16, 24, 32, 48, 64)  # words, tried where a shorter run leaves nothing
SHORTEST_RUN = 4
SHARED_RUN = 5  # words of the runs behind `HeldOut.shares`
_CHUNK = 4_000_000  # characters compared at once
_BASE = 0x9E3779B97F4A7C15  # odd, so that its powers never vanish; 2 ** 64 over the golden ratio

Digests = NDArray[np.uint64]
Owners = NDArray[np.int64]  # for each digest the text that it comes from
Flags = dict[LeakMeasure, NDArray[np.bool_]]  # by measure, for each test row


def drop_leaks(
    candidates: Sequence[Candidate], *, ngram: int
) -> tuple[list[Candidate], list[Candidate]]:
    """Return the candidates without the training and validation rows that overlap with a test row,
    and those rows. Test rows all stay.

    A row overlaps by its prompt, its chain of thought or its response; of a test row the prompt
    counts.
    """
    test = [row.text for row in candidates if row.split == Split.TEST]
    others = [row for row in candidates if row.split != Split.TEST]
    leaking = HeldOut(test, ngram=ngram).find(others)
    dropped = [row for row, leak in zip(others, leaking, strict=True) if leak]
    if dropped:
        log.info("%d training and validation rows dropped: they repeat test rows", len(dropped))
    lost = {id(row) for row in dropped}
    return [row for row in candidates if id(row) not in lost], dropped


def refuse_vanished(placed: Sequence[Candidate], rows: Sequence[Candidate], *, ngram: int) -> None:
    """Raise `DataError` where every row of a role in a split repeats test rows, so that none is
    left, with the longer run of words at which most would stay, where there is one."""
    before, after = (Counter((row.role, row.split) for row in part) for part in (placed, rows))
    if gone := before.keys() - after.keys():
        role, split = min(gone, key=lambda one: (list(Split).index(Split(one[1])), one[0]))
        count = before[role, split]
        remedy = "the rows repeat one another: use prompts that differ in more than a word or two"
        for longer in (length for length in _LONGER_RUNS if length > ngram):
            left, _ = drop_leaks(placed, ngram=longer)
            stay = sum((row.role, row.split) == (role, split) for row in left)
            if 2 * stay >= count:
                remedy = f"with prepare.overlap_ngram: {longer}, {stay} of {count} stay"
                break
        raise DataError(
            f"no {role} row is left in {split}: each of the {count} shares a run of {ngram} words "
            f"with a test row, as rows of one sentence frame do; {remedy}"
        )


def leak_figures(
    rows: Sequence[Candidate | Prompt],
    dropped: Sequence[Candidate],
    *,
    suites: Collection[str],
    ngram: int,
) -> tuple[LeakFigure, ...]:
    """Return the figures of every suite in each measure that any of its prompts is long enough for.

    `rows` holds the test rows and what is left of the others, `dropped` what `drop_leaks` took
    away. A test row whose source is one of `suites` belongs to that suite, any other to the suite
    of its role.
    """
    test = [row for row in rows if row.split == Split.TEST]
    held = HeldOut([row.text for row in test], ngram=ngram)
    held.find([row for row in rows if row.split != Split.TEST])
    after = _flags(held)
    held.find(dropped)  # adds to what was found in the other rows
    before, countable = _flags(held), ~np.isnan(held.shares)

    def rate(flagged: NDArray[np.bool_]) -> RateFigure:
        return RateFigure.of(int(flagged.sum()), len(flagged), CONFIDENCE)

    return tuple(
        LeakFigure(
            suite=suite,
            measure=measure,
            words={"run": ngram, "copy": None, "share": SHARED_RUN}[measure],
            before=rate(before[measure][known]),
            after=rate(after[measure][known]),
            prompts=tuple(sorted(test[i].id for i in known if after[measure][i])[:_NAMED]),
            dropped=lost,
        )
        for suite, places, lost in _by_suite(test, dropped, suites, ngram)
        for measure in after
        if (known := [i for i in places if measure != "share" or countable[i]])
    )


def _flags(held: HeldOut) -> Flags:
    shared = np.nan_to_num(held.shares) >= SHARED
    return {"run": held.repeated, "copy": held.copied, "share": shared}


def _by_suite(
    test: Sequence[Candidate | Prompt],
    dropped: Sequence[Candidate],
    suites: Collection[str],
    ngram: int,
) -> Iterator[tuple[str, list[int], int]]:
    """Yield each suite, the places of its rows, and how many rows were dropped for repeating them:
    the suites of the roles first, then by name."""
    places: dict[str, list[int]] = {}
    for place, row in enumerate(test):
        places.setdefault(suite_of(row.source, row.role, suites), []).append(place)
    roles = [role.value for role in Role if role in places]
    for suite in [*roles, *sorted(places.keys() - set(roles))]:
        own = HeldOut([test[place].text for place in places[suite]], ngram=ngram)
        yield suite, places[suite], int(own.find(dropped).sum())


class HeldOut:
    """Test texts, and what of them was found in the texts that they were compared with."""

    def __init__(self, test: Sequence[str], *, ngram: int) -> None:
        """Hold the `test` texts against runs of `ngram` words."""
        self._count = len(test)
        self._seen: dict[str, int] = {}
        own = _encode(test, self._seen)
        self._whole = _Table(*own.wholes())
        self._share = _Table(*own.runs(SHARED_RUN))
        # Each with the length of the runs that it is compared with; None: with whole texts.
        self._tables = [(self._whole, None), (_Table(*own.runs(ngram)), ngram)]
        for n in range(SHORTEST_RUN, ngram):
            # Short test texts, which longer texts may hold, and what a short text may stand within.
            self._tables += [(_Table(*own.wholes(n)), n), (_Table(*own.runs(n)), None)]

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
            wholes = own.wholes()
            for table, length in self._tables:
                if len(table):
                    digests, owners = wholes if length is None else own.runs(length)
                    leaks[start + owners[table.match(digests)]] = True
            self._share.match(own.runs(SHARED_RUN)[0])
        return leaks

    @property
    def repeated(self) -> NDArray[np.bool_]:
        """For each test text whether it overlaps with a text that it was compared with."""
        found = [table.found_of(self._count) > 0 for table, _ in self._tables]
        return np.logical_or.reduce(found)

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
        if not len(self):
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
    split = [plain_words(text) for text in texts]
    for word in {word for text in split for word in text} - seen.keys():
        digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
        seen[word] = int.from_bytes(digest, "little")
    lengths = np.array([len(text) for text in split], dtype=np.int64)
    every = (seen[word] for text in split for word in text)
    return _Encoded(np.fromiter(every, dtype=np.uint64, count=int(lengths.sum())), lengths)


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
