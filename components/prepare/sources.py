"""A profile's sources and suites as candidates for the table of prompts: read, selected, sampled,
mapped to the fields of a prompt."""

from __future__ import annotations

import logging
import re
import string
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import numpy as np

from components.core.errors import DataError
from components.core.storage import digest_file, replace_surrogates
from components.core.vocabulary import Prompt, Role, Split
from components.prepare.files import Row, read_file
from components.prepare.hub import read_hub
from components.prepare.settings import PromptField, Source, canonical_licence
from components.prepare.suites import Choice, Suite
from components.prepare.text import prompt_id

log = logging.getLogger(__name__)

FIELDS: tuple[PromptField, ...] = get_args(PromptField)
_TEXTS = ("text", "answer", "thought", "response")
_MOST_PLACES = 30  # of a number that is written out


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


def as_prompts(candidates: Sequence[Candidate]) -> list[Prompt]:
    """Return valid candidates with a split as prompts, sorted by split, role and id."""
    names = [field.name for field in fields(Prompt) if field.name != "cluster"]
    prompts = (Prompt(**{name: getattr(row, name) for name in names}) for row in candidates)
    typed = (
        replace(prompt, role=Role(prompt.role), split=Split(prompt.split)) for prompt in prompts
    )
    return sorted(typed, key=lambda prompt: (prompt.split, prompt.role, prompt.id))


def read_source(source: Source, seed: int) -> list[Candidate]:
    """Return the rows of a source, at most its limit, drawn by the seed."""
    return map_rows(_chosen(source, seed), source)


def read_suite(suite: Suite, seed: int) -> list[Candidate]:
    """Return the rows of a suite, with its name in their ids, drawn by the seed; of a question of
    multiple choice the right letter is the `answer`.

    Raises `ConfigError` for a suite that is not pinned, and `DataError` for a file that is missing
    or is not the one that was pinned.
    """
    source = suite.rows()
    check_file(suite)
    rows = _chosen(source, seed)
    if suite.choice is not None:
        columns = dict(source.columns)
        text = columns.pop("text", "text")
        rows = letter_options(rows, suite.choice, source=suite.name, text=text, seed=seed)
        source = source.model_copy(update={"columns": columns})
    return [
        replace(row, id=prompt_id(row.role, row.text, suite=suite.name))
        for row in map_rows(rows, source)
    ]


def check_file(suite: Suite) -> None:
    """Raise `DataError` unless the file of a suite is there and the one that was pinned."""
    origin = suite.source
    if origin.path is None:
        return
    published = f"get it from {origin.url}, " if origin.url else ""
    remedy = f"{published}or name your own file as prepare.suites.{suite.name}.path"
    if not Path(origin.path).is_file():
        raise DataError(f"suite {suite.name!r}: {origin.path} is missing; {remedy}")
    if origin.sha256 is not None and (found := digest_file(Path(origin.path))) != origin.sha256:
        raise DataError(
            f"suite {suite.name!r}: {origin.path} has the SHA-256 {found}, and {origin.sha256} is "
            f"pinned; {remedy}"
        )


def _chosen(source: Source, seed: int) -> list[Row]:
    if source.path is None:
        rows = read_hub(source)
    else:
        rows = read_file(Path(source.path), source=source.name)
    return sample_rows(select_rows(rows, source), source, seed=seed)


def select_rows(rows: Sequence[Row], source: Source) -> list[Row]:
    """Return the rows whose columns have the values of the source's `where`, compared as text.

    Raises `DataError` for an unknown column, and where no row is left.
    """
    _check_columns(rows, source.where, source=source.name, setting="where")
    wanted = {column: _plain(value) for column, value in source.where.items()}
    chosen = [
        (number, row)
        for number, row in rows
        if all(_plain(row.get(column)) == value for column, value in wanted.items())
    ]
    if not chosen:
        raise DataError(
            f"source {source.name!r}: none of {len(rows)} rows has {source.where}; mend `where`"
        )
    return chosen


def _plain(value: Any) -> str:
    return str(float(value) if isinstance(value, Decimal) else value).strip().casefold()


def sample_rows(rows: Sequence[Row], source: Source, *, seed: int) -> list[Row]:
    """Return at most the source's `limit` of rows in their order, drawn by seed and name."""
    if source.limit is None or len(rows) <= source.limit:
        return list(rows)
    generator = np.random.default_rng([seed, zlib.crc32(source.name.encode())])
    drawn = np.sort(generator.choice(len(rows), size=source.limit, replace=False))
    return [rows[i] for i in drawn]


def map_rows(rows: Sequence[Row], source: Source) -> list[Candidate]:
    """Return a candidate for every row of a source.

    A field is the column that `columns` names for it, or the column of its own name. `drop` is
    removed from the texts first; then a pattern's first group becomes the field's value, and no
    match leaves it empty. Raises `DataError` for an unknown column and a cell that is no text.
    """
    columns = {field: source.columns.get(field, field) for field in FIELDS}
    required = [columns["text"]] if source.role else [columns["text"], columns["role"]]
    named = [*source.columns.values(), *required]
    _check_columns(rows, named, source=source.name, setting="columns")
    _warn_of_lookalikes(rows, columns, source.name)
    drop = re.compile(source.drop, re.DOTALL) if source.drop else None
    patterns = {field: re.compile(p, re.DOTALL) for field, p in source.patterns.items()}
    candidates = []
    for number, row in rows:
        values = {}
        for field, column in columns.items():
            value = _cell_text(row, column, f"source {source.name!r}, row {number}")
            if drop and field in _TEXTS:
                value = drop.sub("", value or "").strip()
            if value is not None and field in patterns:
                match = patterns[field].search(value)
                value = (match.group(1) or "").strip() if match else ""
            values[field] = value
        candidates.append(_candidate(values, source, number))
    return candidates


def _candidate(values: Mapping[PromptField, str | None], source: Source, row: int) -> Candidate:
    text = values["text"] or ""
    role = source.role or (values["role"] or "").casefold()
    licence = source.licence if values["licence"] is None else values["licence"]
    return Candidate(
        id=prompt_id(role, text),
        text=text,
        role=role,
        topic=" ".join((values["topic"] or "").split()) or None,
        source=source.name,
        licence=canonical_licence(licence),
        answer=values["answer"] or None,
        thought=values["thought"] or None,
        response=values["response"] or None,
        row=row,
        split=source.split,
    )


def _warn_of_lookalikes(
    rows: Sequence[Row], columns: Mapping[PromptField, str], source: str
) -> None:
    """Warn of columns that are left out because they differ from a field's in capitals alone."""
    known = {column for _, row in rows for column in row}
    for field, column in columns.items():
        alike = {other for other in known if other.casefold() == column.casefold()}
        if alike and column not in known:
            log.warning(
                "source %r: column %r is not read as %s; name it under `columns` if it is that",
                source, min(alike), field,
            )  # fmt: skip


def letter_options(
    rows: Sequence[Row], choice: Choice, *, source: str, text: str, seed: int
) -> list[Row]:
    """Return the rows with question and options as `text`, and the right letter as `answer`.

    `text` names the column of the question. The order of a row's options depends on the seed and on
    its question, not on the other rows. Raises `DataError` for an unknown column, for a question or
    an option that is empty and for a letter of no option.
    """
    flat = [(number, _flat(row)) for number, row in rows]
    _check_columns(flat, [text], source=source, setting="columns")
    _check_columns(flat, (*choice.options, choice.answer), source=source, setting="choice")
    return [
        (number, row | _lettered(row, choice, text, seed, f"source {source!r}, row {number}"))
        for number, row in flat
    ]


def _lettered(
    row: Mapping[str, Any], choice: Choice, text: str, seed: int, place: str
) -> dict[str, str]:
    def cell(column: str) -> str:
        if found := _cell_text(row, column, place):
            return found
        raise DataError(f"{place}: column {column!r} is empty; fill it, or remove the row")

    options, right = choice.options, choice.answer
    letters = string.ascii_uppercase[: len(options)]
    if right not in options:
        letter = cell(right).strip("(). ").upper()
        if len(letter) != 1 or letter not in letters:
            raise DataError(
                f"{place}: column {right!r} holds {cell(right)!r:.40}, not a letter from "
                f"{letters[0]} to {letters[-1]}; mend it, or `choice`"
            )
        right = options[letters.index(letter)]
    question = cell(text)
    generator = np.random.default_rng([seed, int(prompt_id("choice", question), 16)])
    drawn = [options[place] for place in generator.permutation(len(options))]
    lines = [f"{letter}) {cell(column)}" for letter, column in zip(letters, drawn, strict=True)]
    return {"text": "\n".join([f"{question}\n", *lines]), "answer": letters[drawn.index(right)]}


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row with the entries of its mappings as columns of their own, such as `a.b`."""
    inner = {
        f"{column}.{key}": entry
        for column, cell in row.items()
        if isinstance(cell, Mapping)
        for key, entry in cell.items()
    }
    return {**row, **inner}


def _check_columns(
    rows: Sequence[Row], wanted: Iterable[str], *, source: str, setting: str
) -> None:
    """Raise `DataError` for a wanted column that no row has; `setting` is what names it."""
    known = dict.fromkeys(column for _, row in rows for column in row)
    if missing := [column for column in wanted if column not in known]:
        raise DataError(
            f"source {source!r}: no column {missing[0]!r}; there are: {', '.join(known)}; "
            f"mend `{setting}`"
        )


def _cell_text(row: Mapping[str, Any], column: str, place: str) -> str | None:
    """Return a cell as text, numbers written out (0.00001, not 1e-05); None for an empty one."""
    value = row.get(column)
    if value is None or value != value:  # NaN, a table's empty cell
        return None
    if isinstance(value, str | int):
        return replace_surrogates(str(value)).strip()
    if isinstance(value, float) and abs(value) != float("inf"):
        return np.format_float_positional(value, trim="0")
    if isinstance(value, Decimal) and value.is_finite():
        return f"{value:f}" if abs(value.adjusted()) <= _MOST_PLACES else str(value)
    kind = type(value).__name__
    raise DataError(f"{place}: column {column!r} holds a {kind}; give it as text")
