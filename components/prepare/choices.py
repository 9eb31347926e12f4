"""Multiple-choice rows: the question with its options, lettered in an order drawn by the seed."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.core.errors import DataError
from components.prepare.files import Row
from components.prepare.suites import Choice
from components.prepare.text import cell_text, check_columns, prompt_id


def letter_options(
    rows: Sequence[Row], choice: Choice, *, source: str, text: str, seed: int
) -> list[Row]:
    """Return the rows with question and options as `text`, and the right letter as `answer`.

    `text` names the column of the question. The order of a row's options depends on the seed and on
    its question, not on the other rows. Raises `DataError` for an unknown column, for a question or
    an option that is empty and for a letter of no option.
    """
    flat = [(number, _flat(row)) for number, row in rows]
    columns = (*choice.options, choice.answer)
    check_columns(flat, [text], source=source, setting="columns")
    check_columns(flat, columns, source=source, setting="choice")
    return [
        (number, row | _lettered(row, choice, text, seed, source=source, number=number))
        for number, row in flat
    ]


def _lettered(
    row: Mapping[str, Any], choice: Choice, text: str, seed: int, *, source: str, number: int
) -> dict[str, str]:
    def cell(column: str) -> str:
        found = cell_text(row.get(column), source=source, row=number, column=column)
        if not found:
            raise DataError(
                f"source {source!r}, row {number}: column {column!r} is empty; fill it, or remove "
                "the row"
            )
        return found

    options, right = choice.options, choice.answer
    letters = string.ascii_uppercase[: len(options)]
    if right not in options:
        letter = cell(right).strip("(). ").upper()
        if len(letter) != 1 or letter not in letters:
            raise DataError(
                f"source {source!r}, row {number}: column {right!r} holds {cell(right)!r:.40}, not "
                f"a letter from {letters[0]} to {letters[-1]}; mend it, or `choice`"
            )
        right = options[letters.index(letter)]
    question = cell(text)
    generator = np.random.default_rng([seed, int(prompt_id("choice", question), 16)])
    drawn = [options[place] for place in generator.permutation(len(options))]
    lines = [f"{letter}) {cell(column)}" for letter, column in zip(letters, drawn, strict=True)]
    return {
        "text": "\n".join([f"{question}\n", *lines]),
        "answer": letters[drawn.index(right)],
    }


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row with the entries of its mappings as columns of their own, such as `a.b`."""
    inner = {
        f"{column}.{key}": entry
        for column, cell in row.items()
        if isinstance(cell, Mapping)
        for key, entry in cell.items()
    }
    return {**row, **inner}
