"""Cells of rows as text, and text as it is compared: normal form, words, id, odd characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from components.core.errors import DataError
from components.core.storage import digest_bytes
from components.prepare.files import Row

_MOST_PLACES = 30  # of a number that is written out

# Han and kana are written without spaces, so each of their characters counts as a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# Control characters but tab and line ends, private use, the replacement character of a failed
# decoding, byte order marks, and the marks that reverse the direction of writing unseen.
_UNREADABLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ue000-\uf8ff\ufeff\ufff9-\uffff"
    r"\U000f0000-\U0010ffff]"
)
REPLACEMENT = "\ufffd"


def normalise(text: str) -> str:
    """Return `text` in NFKC, case-folded, with every run of white space as one space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def words(text: str) -> list[str]:
    """Return the words of the normalised text; a text without any is its own only word."""
    normal = normalise(text)
    return _WORD.findall(normal) or [normal]


def prompt_id(role: str, text: str, *, suite: str | None = None) -> str:
    """Return 16 hex digits of the SHA-256 of the role and the normalised text.

    Rows of a named suite have its name in their ids: each suite stays whole, whatever it shares
    with another.
    """
    place = role if suite is None else f"{suite}\n{role}"
    return digest_bytes(f"{place}\n{normalise(text)}".encode())[:16]


def replace_surrogates(text: str) -> str:
    """Return `text` with lone surrogates, which no encoding can write, as U+FFFD."""
    return _SURROGATE.sub(REPLACEMENT, text)


def unreadable_characters(text: str) -> int:
    """Return how many characters of `text` are no readable text."""
    return len(_UNREADABLE.findall(text))


def check_columns(rows: Sequence[Row], wanted: Iterable[str], *, source: str, setting: str) -> None:
    """Raise `DataError` for a wanted column that no row has; `setting` is what names it."""
    known = dict.fromkeys(column for _, row in rows for column in row)
    missing = [column for column in wanted if column not in known]
    if missing:
        raise DataError(
            f"source {source!r}: no column {missing[0]!r}; there are: {', '.join(known)}; "
            f"mend `{setting}`"
        )


def cell_text(value: Any, *, source: str, row: int, column: str) -> str | None:
    """Return a cell as text, None for an empty one; raises `DataError` for what is no text.

    Numbers are written out: 0.00001, not 1e-05.
    """
    if value is None or value != value:  # NaN, a table's empty cell
        return None
    if isinstance(value, str | int):
        return replace_surrogates(str(value)).strip()
    if isinstance(value, float) and abs(value) != float("inf"):
        return np.format_float_positional(value, trim="0")
    if isinstance(value, Decimal) and value.is_finite():
        return f"{value:f}" if abs(value.adjusted()) <= _MOST_PLACES else str(value)
    raise DataError(
        f"source {source!r}, row {row}: column {column!r} holds a {type(value).__name__}; "
        "give it as text"
    )
