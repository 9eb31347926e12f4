"""Training rows that repeat test rows: dropped, and counted for every evaluation suite.

Training is the prompts, chains of thought and responses of the training and validation rows. What
else the adapter learns from are completions of the post-trained model and of its teacher to those
same prompts, so no test prompt reaches it in another way. Three measures, each over the prompts of
one suite, before and after dropping:

- `run`: training shares a run of words with the prompt (see components/prepare/overlap.py);
- `copy`: a text of training equals the prompt but for case, accents, punctuation and white space;
- `share`: at least half of the prompt's runs of five words occur in training, whichever texts they
  come from. After PaLM (Chowdhery et al. 2022, arXiv 2204.02311, section 8), which has 70 % of the
  runs of eight words: shorter runs and a lower share, since rows that share long runs are gone.
  Prompts that are built from one template flag each other, so it is reported and decides nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from components.core.errors import DataError
from components.core.result import RateFigure
from components.core.vocabulary import Prompt, Role, Split
from components.prepare.overlap import SHARED_RUN, HeldOut
from components.prepare.result import LeakFigure, LeakMeasure
from components.prepare.sources import Candidate

log = logging.getLogger(__name__)

SHARED = 0.5  # share of a prompt's runs from which on it is flagged
CONFIDENCE = 0.95
_NAMED = 5  # prompts that a figure names
_LONGER_RUNS = (12, 16, 24, 32, 48, 64)  # words, tried where a shorter run leaves nothing

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
        raise DataError(
            f"no {role} row is left in {split}: each of the {count} shares a run of {ngram} words "
            "with a test row, as rows of one sentence frame do; "
            f"{_remedy(placed, role, split, count, ngram)}"
        )


def _remedy(placed: Sequence[Candidate], role: str, split: str, count: int, ngram: int) -> str:
    for longer in (length for length in _LONGER_RUNS if length > ngram):
        rows, _ = drop_leaks(placed, ngram=longer)
        stay = sum((row.role, row.split) == (role, split) for row in rows)
        if 2 * stay >= count:
            return f"with prepare.overlap_ngram: {longer}, {stay} of {count} stay"
    return "the rows repeat one another: use prompts that differ in more than a word or two"


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
    return tuple(
        LeakFigure(
            suite=suite,
            measure=measure,
            words={"run": ngram, "copy": None, "share": SHARED_RUN}[measure],
            before=_rate(before[measure][known]),
            after=_rate(after[measure][known]),
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
        places.setdefault(row.source if row.source in suites else row.role, []).append(place)
    roles = [role.value for role in Role if role in places]
    for suite in [*roles, *sorted(places.keys() - set(roles))]:
        own = HeldOut([test[place].text for place in places[suite]], ngram=ngram)
        yield suite, places[suite], int(own.find(dropped).sum())


def _rate(flagged: NDArray[np.bool_]) -> RateFigure:
    return RateFigure.of(int(flagged.sum()), len(flagged), CONFIDENCE)
