"""Rows that fail are set aside with their reason; too many of them stop the stage."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from great_expectations.core import ExpectationSuiteValidationResult

from components.core.errors import DataError
from components.prepare.expectations import Check, checks_of_repetition, checks_of_rows
from components.prepare.sources import Candidate
from components.prepare.validation import (
    find_faults,
    name_rows,
    repetition_frame,
    row_frame,
    validate,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A row that was set aside."""

    source: str
    row: int
    reason: str
    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Separation:
    """The rows that passed, those that did not, and the two validations that tell them apart."""

    kept: list[Candidate]
    quarantined: list[Quarantined]
    by_itself: ExpectationSuiteValidationResult
    beside_others: ExpectationSuiteValidationResult


def separate(
    rows: Sequence[Candidate], *, max_characters: int, beside: Sequence[Candidate] = ()
) -> Separation:
    """Return the rows in order, without those that fail by themselves or repeat another.

    Repetition is judged among the rows that pass by themselves, so the good one of two stays, and
    among the rows `beside` them, which come before and all stay.
    """
    by_itself, kept, failed = _sift(rows, row_frame(rows), checks_of_rows(max_characters), "rows")
    frame = repetition_frame([*beside, *kept]).iloc[len(beside) :].reset_index(drop=True)
    beside_others, kept, repeated = _sift(kept, frame, checks_of_repetition(), "repetition")
    log.info("%d of %d rows quarantined", len(rows) - len(kept), len(rows))
    return Separation(kept, [*failed, *repeated], by_itself, beside_others)


def refuse_too_many(separation: Separation, *, max_share: float) -> None:
    """Raise `DataError` where too large a share, or all of a source, is in quarantine."""
    quarantined = separation.quarantined
    left = {row.source for row in separation.kept}
    total = len(separation.kept) + len(quarantined)
    share = len(quarantined) / total
    for source in sorted({row.source for row in quarantined} - left):
        its = [row for row in quarantined if row.source == source]
        raise DataError(f"source {source!r}: no row is left of {len(its)}:\n{_reasons(its)}")
    if share > max_share:
        raise DataError(
            f"{len(quarantined)} of {total} rows ({share:.1%}) are quarantined, more than "
            f"prepare.max_quarantined = {max_share:.1%}:\n{_reasons(quarantined)}"
        )


def _sift(
    rows: Sequence[Candidate], frame: pd.DataFrame, checks: Sequence[Check], name: str
) -> tuple[ExpectationSuiteValidationResult, list[Candidate], list[Quarantined]]:
    outcome = validate(frame, checks, name=name)
    faults = find_faults(outcome, checks)
    kept = [row for position, row in enumerate(rows) if position not in faults]
    failed = [
        Quarantined(
            rows[position].source,
            rows[position].row,
            check.reason,
            rows[position].text,
            check.remedy,
        )
        for position, check in sorted(faults.items())
    ]
    return outcome, kept, failed


def _reasons(quarantined: Sequence[Quarantined]) -> str:
    lines = []
    counts = Counter((row.reason, row.remedy) for row in quarantined)
    for (reason, remedy), _ in counts.most_common():
        its = [row for row in quarantined if row.reason == reason]
        place = name_rows([row.source for row in its], [row.row for row in its])
        lines.append(f"  {reason} ({place}); {remedy}")
    return "\n".join(lines)
