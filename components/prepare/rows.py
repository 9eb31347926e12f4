"""What every reader of files keeps to: rows, columns' names, bounds, and how a file is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from components.core.errors import DataError

Row = tuple[int, dict[str, Any]]

# A prompt with its answer is a few kilobytes; a longer line is a file that lost its line ends.
LONGEST_LINE = 1 << 20
MOST_BYTES = 1 << 30  # of all rows together, decoded
TOO_GREAT = "holds more than can be kept in memory; split it, or take a sample of its rows"


class ColumnError(Exception):
    """A column's name is there twice."""


def columns_of(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return the columns by their names without white space around them."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        bare = name.strip()
        if bare in found:
            raise ColumnError(f"names a column twice: {bare!r}; name each once")
        found[bare] = value
    return found


def refuse(source: str, path: Path, row: int | None, what: str) -> NoReturn:
    """Raise a `DataError` that names source, file and row."""
    place = "" if row is None else f", row {row}"
    raise DataError(f"source {source!r}: {path}{place} {what}")
