"""A profile's sources and suites as candidates for the table of prompts: read, selected, sampled,
mapped to the fields of a prompt."""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import numpy as np

from components.core.errors import DataError
from components.core.storage import digest_file
from components.core.vocabulary import Prompt, Role, Split
from components.prepare.choices import letter_options
from components.prepare.files import Row, read_file
from components.prepare.hub import read_hub
from components.prepare.licences import canonical_licence
from components.prepare.settings import PromptField, Source
from components.prepare.suites import Suite
from components.prepare.text import cell_text, check_columns, prompt_id

log = logging.getLogger(__name__)

FIELDS: tuple[PromptField, ...] = get_args(PromptField)
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


def as_prompts(candidates: Sequence[Candidate]) -> list[Prompt]:
    """Return valid candidates with a split as prompts, sorted by split, role and id."""
    names = [field.name for field in fields(Prompt)]
    prompts = []
    for row in candidates:
        values = {name: getattr(row, name) for name in names}
        prompts.append(Prompt(**{**values, "role": Role(row.role), "split": Split(row.split)}))
    return sorted(prompts, key=lambda prompt: (prompt.split, prompt.role, prompt.id))


def read_source(source: Source, seed: int) -> list[Candidate]:
    """Return the rows of a source, at most its limit, drawn by the seed."""
    return map_rows(_chosen(source, seed), source)


def read_suite(suite: Suite, seed: int) -> list[Candidate]:
    """Return the rows of a suite, with its name in their ids, drawn by the seed.

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
    remedy = f"or name your own file as prepare.suites.{suite.name}.path"
    if origin.url is not None:
        remedy = f"get it from {origin.url}, {remedy}"
    if not Path(origin.path).is_file():
        raise DataError(f"suite {suite.name!r}: {origin.path} is missing; {remedy}")
    if origin.sha256 is not None and (found := digest_file(Path(origin.path))) != origin.sha256:
        raise DataError(
            f"suite {suite.name!r}: {origin.path} has the SHA-256 {found}, and {origin.sha256} is "
            f"pinned; {remedy}"
        )


def _chosen(source: Source, seed: int) -> list[Row]:
    if source.path is not None:
        rows = read_file(Path(source.path), source=source.name)
    else:
        rows = read_hub(
            source.hub or "",
            revision=source.revision or "",
            subset=source.subset,
            split=source.hub_split,
            source=source.name,
        )
    return sample_rows(select_rows(rows, source), source, seed=seed)


def select_rows(rows: Sequence[Row], source: Source) -> list[Row]:
    """Return the rows whose columns have the values of the source's `where`, compared as text.

    Raises `DataError` for an unknown column, and where no row is left.
    """
    check_columns(rows, source.where, source=source.name, setting="where")
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
    check_columns(
        rows, [*source.columns.values(), *required], source=source.name, setting="columns"
    )
    _warn_of_lookalikes(rows, columns, source.name)
    drop = re.compile(source.drop, re.DOTALL) if source.drop else None
    patterns = {field: re.compile(p, re.DOTALL) for field, p in source.patterns.items()}
    candidates = []
    for number, row in rows:
        values = {}
        for field, column in columns.items():
            value = cell_text(row.get(column), source=source.name, row=number, column=column)
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


def _plain(value: Any) -> str:
    return str(float(value) if isinstance(value, Decimal) else value).strip().casefold()
