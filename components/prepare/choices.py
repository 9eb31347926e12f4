"""Multiple-choice rows: the question with its options, lettered in an order drawn by the seed."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.core.errors import DataError
from components.prepare.rows import Row
from components.prepare.sources import cell_text, check_columns
from components.prepare.text import prompt_id


def letter_options(
    rows: Sequence[Row],
    *,
    source: str,
    text: str,
    options: Sequence[str],
    answer: str,
    seed: int,
) -> list[Row]:
    """Return the rows with question and options as `text`, and the right letter as `answer`.

    `text` names the column of the question. `answer` is one of the columns `options`, if it always
    holds the right one; else it names the column with the right one's letter. The order of a row's
    options depends on the seed and on its question, not on the other rows. Raises `DataError` for
    an unknown column, for a question or an option that is empty and for a letter of no option.
    """
    flat = [(number, _flat(row)) for number, row in rows]
    check_columns(flat, [text], source=source, setting="columns")
    check_columns(flat, [*options, answer], source=source, setting="choice")
    letters = string.ascii_uppercase[: len(options)]
    lettered = []
    for number, row in flat:
        cells = {
            column: _filled(row.get(column), source=source, row=number, column=column)
            for column in (text, *options, answer)
        }
        right = answer
        if answer not in options:
            letter = _letter(cells[answer], letters, source=source, row=number, column=answer)
            right = options[letters.index(letter)]
        shown = dict(zip(letters, _drawn(options, cells[text], seed), strict=True))
        lines = "\n".join(f"{letter}) {cells[column]}" for letter, column in shown.items())
        (found,) = (letter for letter, column in shown.items() if column == right)
        lettered.append((number, {**row, "text": f"{cells[text]}\n\n{lines}", "answer": found}))
    return lettered


def _drawn(options: Sequence[str], question: str, seed: int) -> list[str]:
    generator = np.random.default_rng([seed, int(prompt_id("choice", question), 16)])
    return [options[place] for place in generator.permutation(len(options))]


def _letter(cell: str, letters: str, *, source: str, row: int, column: str) -> str:
    letter = cell.strip("(). ").upper()
    if len(letter) != 1 or letter not in letters:
        raise DataError(
            f"source {source!r}, row {row}: column {column!r} holds {cell!r:.40}, not a letter "
            f"from {letters[0]} to {letters[-1]}; mend it, or `choice`"
        )
    return letter


def _filled(cell: Any, *, source: str, row: int, column: str) -> str:
    found = cell_text(cell, source=source, row=row, column=column)
    if not found:
        raise DataError(
            f"source {source!r}, row {row}: column {column!r} is empty; fill it, or remove the row"
        )
    return found


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row with the entries of its mappings as columns of their own, such as `a.b`."""
    inner = {
        f"{column}.{key}": entry
        for column, cell in row.items()
        if isinstance(cell, Mapping)
        for key, entry in cell.items()
    }
    return {**row, **inner}
