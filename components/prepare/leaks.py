"""What training holds of every evaluation suite, before and after leaking rows were dropped.

Training is the prompts, chains of thought and responses of the training and validation rows. What
else the adapter learns from are completions of the post-trained model and of its teacher to those
same prompts, so no test prompt reaches it in another way. Three measures, each over the prompts of
one suite:

- `run`: training shares a run of words with the prompt (see components/prepare/overlap.py);
- `copy`: a text of training equals the prompt but for case, accents, punctuation and white space;
- `share`: at least half of the prompt's runs of five words occur in training, whichever texts they
  come from. After PaLM (Chowdhery et al. 2022, arXiv 2204.02311, section 8), which has 70 % of the
  runs of eight words: shorter runs and a lower share, since rows that share long runs are gone.
  Prompts that are built from one template flag each other, so this is told and decides nothing.

After dropping, `run` and `copy` are computed anew on the rows that were kept.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from components.core.intervals import RateFigure
from components.core.vocabulary import Role, Split
from components.prepare.overlap import SHARED_RUN, HeldOut
from components.prepare.result import LeakFigure, LeakMeasure
from components.prepare.sources import Candidate

SHARED = 0.5  # share of a prompt's runs from which on it is flagged
CONFIDENCE = 0.95
_NAMED = 5  # prompts that a figure names

Flags = dict[LeakMeasure, NDArray[np.bool_]]  # by measure, for each test row


def leak_figures(
    kept: Sequence[Candidate],
    dropped: Sequence[Candidate],
    *,
    suites: Collection[str],
    ngram: int,
) -> tuple[LeakFigure, ...]:
    """Return the figures of every suite in each measure that any of its prompts is long enough for.

    `kept` holds the test rows and what is left of the others, `dropped` what `drop_leaks` took
    away. A test row whose source is one of `suites` belongs to that suite, any other to the suite
    of its role.
    """
    test = [row for row in kept if row.split == Split.TEST]
    held = HeldOut([row.text for row in test], ngram=ngram)
    held.find([row for row in kept if row.split != Split.TEST])
    after = _flags(held)
    held.find(dropped)  # adds to what was found in the kept rows
    before, countable = _flags(held), ~np.isnan(held.shares)
    words: dict[LeakMeasure, int | None] = {"run": ngram, "copy": None, "share": SHARED_RUN}
    figures = []
    for suite, rows in _by_suite(test, suites).items():
        own = HeldOut([test[row].text for row in rows], ngram=ngram)
        lost = int(own.find(dropped).sum())
        for measure, length in words.items():
            known = [row for row in rows if measure != "share" or countable[row]]
            if known:
                figures.append(
                    LeakFigure(
                        suite=suite,
                        measure=measure,
                        words=length,
                        before=_rate(before[measure][known]),
                        after=_rate(after[measure][known]),
                        prompts=_named([test[row].id for row in known if after[measure][row]]),
                        dropped=lost,
                    )
                )
    return tuple(figures)


def _flags(held: HeldOut) -> Flags:
    shared = np.nan_to_num(held.shares) >= SHARED
    return {"run": held.repeated, "copy": held.copied, "share": shared}


def _by_suite(test: Sequence[Candidate], suites: Collection[str]) -> dict[str, list[int]]:
    """Return the places of each suite's rows: the suites of the roles first, then by name."""
    places: dict[str, list[int]] = {}
    for place, row in enumerate(test):
        places.setdefault(row.source if row.source in suites else row.role, []).append(place)
    roles = [role.value for role in Role if role in places]
    return {name: places[name] for name in [*roles, *sorted(places.keys() - set(roles))]}


def _rate(flagged: NDArray[np.bool_]) -> RateFigure:
    return RateFigure.of(int(flagged.sum()), len(flagged), CONFIDENCE)


def _named(ids: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(ids)[:_NAMED])
