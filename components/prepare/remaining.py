"""What is left of the rows of each role, and what became of the others, in words."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence

from components.core.errors import DataError
from components.core.vocabulary import Split
from components.prepare.overlap import drop_leaks
from components.prepare.quarantine import Quarantined
from components.prepare.sources import Candidate

log = logging.getLogger(__name__)

_LONGER_RUNS = (12, 16, 24, 32, 48, 64)  # words, tried where a shorter run leaves nothing


def account_for(
    rows: Sequence[Candidate],
    quarantined: Sequence[Quarantined],
    dropped: Sequence[Candidate],
    kept: Sequence[Candidate],
    *,
    ngram: int,
) -> list[str]:
    """Return a sentence for each role: rows read, set aside by reason, dropped as repeating test
    rows, and left in each split."""
    role_of = {(row.source, row.row): row.role for row in rows}
    return [
        "; ".join(_parts(role, rows, quarantined, role_of, dropped, kept, ngram))
        for role in dict.fromkeys(row.role for row in rows)
    ]


def _parts(
    role: str,
    rows: Sequence[Candidate],
    quarantined: Sequence[Quarantined],
    role_of: dict[tuple[str, int], str],
    dropped: Sequence[Candidate],
    kept: Sequence[Candidate],
    ngram: int,
) -> Iterator[str]:
    yield f"{role}: {sum(row.role == role for row in rows)} rows read"
    reasons = Counter(q.reason for q in quarantined if role_of.get((q.source, q.row)) == role)
    for reason, count in reasons.most_common():
        yield f"{count} set aside ({reason})"
    if leaking := sum(row.role == role for row in dropped):
        yield f"{leaking} dropped (they share a run of {ngram} words with a test row)"
    # Rows of a named suite of the same role are counted with that suite.
    sources = {row.source for row in rows}
    own = (row for row in kept if row.role == role and row.source in sources)
    left = Counter(row.split for row in own)
    yield "left: " + ", ".join(f"{split} {left[split]}" for split in Split)


def refuse_vanished(placed: Sequence[Candidate], kept: Sequence[Candidate], *, ngram: int) -> None:
    """Raise `DataError` where every row of a role in a split repeats test rows, so that none is
    left, with the longer run of words at which most would stay, where there is one."""
    there = Counter((row.role, row.split) for row in placed)
    left = Counter((row.role, row.split) for row in kept)
    gone = [(role, split) for role, split in there if not left[role, split]]
    if gone:
        role, split = min(gone, key=lambda one: list(Split).index(Split(one[1])))
        count = there[role, split]
        raise DataError(
            f"no {role} row is left in {split}: each of the {count} shares a run of {ngram} words "
            "with a test row, as rows of one sentence frame do; "
            f"{_remedy(placed, role, split, count, ngram)}"
        )


def _remedy(placed: Sequence[Candidate], role: str, split: str, count: int, ngram: int) -> str:
    for longer in _LONGER_RUNS:
        if longer <= ngram:
            continue
        kept, _ = drop_leaks(placed, ngram=longer)
        stay = sum((row.role, row.split) == (role, split) for row in kept)
        if 2 * stay >= count:
            return f"with prepare.overlap_ngram: {longer}, {stay} of {count} stay"
    return "the rows repeat one another: use prompts that differ in more than a word or two"
