"""Rows of a source as candidates for the canonical table: columns mapped, cleaned, selected."""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, get_args

import numpy as np

from components.core.errors import DataError
from components.prepare.licences import canonical_licence
from components.prepare.rows import Row
from components.prepare.settings import PromptField
from components.prepare.text import prompt_id, replace_surrogates

log = logging.getLogger(__name__)

FIELDS: tuple[PromptField, ...] = get_args(PromptField)
_MOST_PLACES = 30  # of a number that is written out
_TEXTS = ("text", "answer", "thought", "response")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row on its way into the table, with its place in the source."""

    id: str
    text: str
    role: str  # as the source says; may be unknown
    topic: str | None  # None: to be derived
    source: str
    licence: str
    answer: str | None
    thought: str | None
    response: str | None
    row: int
    split: str  # train, validation, test, or auto: by topic


def select_rows(rows: Sequence[Row], *, source: str, where: Mapping[str, Any]) -> list[Row]:
    """Return the rows whose columns have the values of `where`, compared as text.

    Raises `DataError` for an unknown column, and where no row is left.
    """
    check_columns(rows, where, source=source, setting="where")
    chosen = [
        (number, row)
        for number, row in rows
        if all(_plain(row.get(column)) == _plain(value) for column, value in where.items())
    ]
    if not chosen:
        raise DataError(
            f"source {source!r}: none of {len(rows)} rows has {dict(where)}; mend `where`"
        )
    return chosen


def sample_rows(rows: Sequence[Row], *, source: str, limit: int | None, seed: int) -> list[Row]:
    """Return at most `limit` rows in their order, drawn by the seed and the source's name."""
    if limit is None or len(rows) <= limit:
        return list(rows)
    generator = np.random.default_rng([seed, zlib.crc32(source.encode())])
    kept = np.sort(generator.choice(len(rows), size=limit, replace=False))
    return [rows[i] for i in kept]


def map_rows(
    rows: Sequence[Row],
    *,
    source: str,
    licence: str,
    role: str | None,
    split: str,
    columns: Mapping[PromptField, str],
    patterns: Mapping[PromptField, str],
    drop: str | None,
) -> list[Candidate]:
    """Return a candidate for every row.

    A field is the column that `columns` names for it, or the column of its own name. `drop` is
    removed from the texts first; then a pattern's first group becomes the field's value, and no
    match leaves it empty. Raises `DataError` for an unknown column and a cell that is no text.
    """
    check_columns(rows, columns.values(), source=source, setting="columns")
    names = {field: columns.get(field, field) for field in FIELDS}
    required: list[PromptField] = ["text"] if role else ["text", "role"]
    check_columns(rows, [names[field] for field in required], source=source, setting="columns")
    _tell_lookalikes(rows, names, source=source)
    dropped = re.compile(drop, re.DOTALL) if drop else None
    compiled = {field: re.compile(pattern, re.DOTALL) for field, pattern in patterns.items()}
    candidates = []
    for number, row in rows:
        values = {}
        for field, column in names.items():
            value = cell_text(row.get(column), source=source, row=number, column=column)
            if dropped and field in _TEXTS:
                value = dropped.sub("", value or "").strip()
            values[field] = _matched(value, compiled.get(field))
        candidates.append(
            _candidate(values, source=source, licence=licence, role=role, split=split, row=number)
        )
    return candidates


def _tell_lookalikes(rows: Sequence[Row], names: Mapping[PromptField, str], *, source: str) -> None:
    """Warn of columns that are left out because they differ from a field's in capitals alone."""
    known = {column for _, row in rows for column in row}
    for field, column in names.items():
        alike = {other for other in known if other.casefold() == column.casefold()}
        if column not in known and alike:
            log.warning(
                "source %r: column %r is not read as %s; name it under `columns` if it is that",
                source,
                min(alike),
                field,
            )


def _candidate(
    values: Mapping[PromptField, str | None],
    *,
    source: str,
    licence: str,
    role: str | None,
    split: str,
    row: int,
) -> Candidate:
    text = values["text"] or ""
    its_role = role or (values["role"] or "").casefold()
    its_licence = licence if values["licence"] is None else values["licence"]
    return Candidate(
        id=prompt_id(its_role, text),
        text=text,
        role=its_role,
        topic=" ".join((values["topic"] or "").split()) or None,
        source=source,
        licence=canonical_licence(its_licence),
        answer=values["answer"] or None,
        thought=values["thought"] or None,
        response=values["response"] or None,
        row=row,
        split=split,
    )


def _matched(value: str | None, pattern: re.Pattern[str] | None) -> str | None:
    if value is None or pattern is None:
        return value
    match = pattern.search(value)
    return (match.group(1) or "").strip() if match else ""


def cell_text(value: Any, *, source: str, row: int, column: str) -> str | None:
    """Return a cell as text, None for an empty one; raises `DataError` for what is no text.

    Numbers are written out: 0.00001, not 1e-05.
    """
    if value is None or value != value:  # NaN, a table's empty cell
        return None
    if isinstance(value, str | int):
        return replace_surrogates(str(value)).strip()
    if isinstance(value, float | Decimal) and abs(value) != float("inf"):
        return _written_out(value)
    raise DataError(
        f"source {source!r}, row {row}: column {column!r} holds a {type(value).__name__}; "
        "give it as text"
    )


def _written_out(number: float | Decimal) -> str:
    if isinstance(number, float):
        return np.format_float_positional(number, trim="0")
    return f"{number:f}" if abs(number.adjusted()) <= _MOST_PLACES else str(number)


def check_columns(rows: Sequence[Row], wanted: Iterable[str], *, source: str, setting: str) -> None:
    """Raise `DataError` for a wanted column that no row has; `setting` is what names it."""
    known: dict[str, None] = {}
    for _, row in rows:
        known.update(dict.fromkeys(row))
    missing = [column for column in wanted if column not in known]
    if missing:
        raise DataError(
            f"source {source!r}: no column {missing[0]!r}; there are: {', '.join(known)}; "
            f"mend `{setting}`"
        )


def _plain(value: Any) -> str:
    if isinstance(value, Decimal):
        value = float(value)
    return str(value).strip().casefold()
