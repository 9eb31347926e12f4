"""A profile's sources and suites as candidates: read, selected, sampled and mapped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from components.core.errors import DataError
from components.core.storage import digest_file
from components.prepare.choices import letter_options
from components.prepare.hub import read_hub
from components.prepare.readers import read_file
from components.prepare.rows import Row
from components.prepare.settings import Source
from components.prepare.sources import Candidate, map_rows, sample_rows, select_rows
from components.prepare.suites import Suite
from components.prepare.text import prompt_id


def read_source(source: Source, seed: int) -> list[Candidate]:
    """Return the rows of a source, at most its limit, drawn by the seed."""
    return _mapped(source, _chosen(source, seed))


def read_suite(suite: Suite, seed: int) -> list[Candidate]:
    """Return the rows of a suite, with its name in their ids, drawn by the seed.

    Raises `ConfigError` for a suite that is not pinned, and `DataError` for a file that is missing
    or is not the one that was pinned.
    """
    source = suite.rows()
    _check_file(suite)
    rows = _chosen(source, seed)
    if suite.choice is not None:
        columns = dict(source.columns)
        rows = letter_options(
            rows,
            source=suite.name,
            text=columns.pop("text", "text"),
            options=suite.choice.options,
            answer=suite.choice.answer,
            seed=seed,
        )
        source = source.model_copy(update={"columns": columns})
    return [
        replace(row, id=prompt_id(row.role, row.text, suite=suite.name))
        for row in _mapped(source, rows)
    ]


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
    rows = select_rows(rows, source=source.name, where=source.where)
    return sample_rows(rows, source=source.name, limit=source.limit, seed=seed)


def _mapped(source: Source, rows: Sequence[Row]) -> list[Candidate]:
    return map_rows(
        rows,
        source=source.name,
        licence=source.licence,
        role=source.role,
        split=source.split,
        columns=source.columns,
        patterns=source.patterns,
        drop=source.drop,
    )


def _check_file(suite: Suite) -> None:
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
