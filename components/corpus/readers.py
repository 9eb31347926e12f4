"""Files on disk as numbered rows of columns.

A row's number is what a person looks up: the line of a .jsonl or .csv file (of a quoted csv row:
its last), the ordinal from 1 of a .parquet row. Every error is one `DataError` that names
the source, the row and the remedy.
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from components.errors import DataError

log = logging.getLogger(__name__)

Row = tuple[int, dict[str, Any]]

# A prompt with its answer is a few kilobytes; a longer line is a file that lost its line ends.
LONGEST_LINE = 1 << 20
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def read_file(path: Path, *, source: str) -> list[Row]:
    """Return the numbered rows of a local .jsonl, .csv or .parquet file.

    Raises `DataError` for a missing, empty, foreign or unreadable file, naming the row.
    """
    readers = {".jsonl": _read_json_lines, ".csv": _read_csv, ".parquet": _read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        _refuse(source, path, None, f"is not one of {', '.join(readers)}; convert it")
    if not path.is_file():
        _refuse(source, path, None, "is missing; put the file there (`dvc pull`?) or mend `path`")
    try:
        rows = list(reader(path, source))
    except OSError as error:
        _refuse(source, path, None, f"cannot be read: {error.strerror or error}")
    if not rows:
        _refuse(source, path, None, "holds no rows; fill it or remove the source")
    log.info("%s: %d rows", source, len(rows))
    return rows


def _read_json_lines(path: Path, source: str) -> Iterator[Row]:
    for number, line in _lines(path, source):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except RecursionError:
            _refuse(source, path, number, "is nested too deeply; keep one flat object a line")
        except ValueError as error:
            _refuse(source, path, number, f"is not JSON ({error}); mend or remove the line")
        if not isinstance(row, dict):
            _refuse(source, path, number, f"is a {type(row).__name__}, not an object of columns")
        yield number, row


def _read_csv(path: Path, source: str) -> Iterator[Row]:
    lines = csv.reader((line for _, line in _lines(path, source)), strict=True)
    header: list[str] | None = None
    try:
        for cells in lines:
            if not cells:
                continue
            if header is None:
                header = cells
                if len(set(header)) < len(header):
                    _refuse(source, path, lines.line_num, f"names a column twice: {header}")
            elif len(cells) != len(header):
                _refuse(
                    source,
                    path,
                    lines.line_num,
                    f"has {len(cells)} cells for {len(header)} columns; quote cells with commas",
                )
            else:
                yield lines.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        _refuse(source, path, lines.line_num, f"is not CSV ({error}); mend or remove it")


def _read_parquet(path: Path, source: str) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        _refuse(source, path, number + 1, f"is not Parquet ({error}); write the file again")


def _lines(path: Path, source: str) -> Iterator[tuple[int, str]]:
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                _refuse(
                    source,
                    path,
                    number,
                    f"is longer than {LONGEST_LINE} bytes; put one row on each line",
                )
            if number == 1 and line.startswith(_MARKS):
                _refuse(
                    source, path, 1, "starts with a byte order mark; save it as UTF-8 without one"
                )
            try:
                yield number, line.decode("utf-8")
            except UnicodeDecodeError as error:
                _refuse(
                    source, path, number, f"is not UTF-8 (byte {error.start}); save it as UTF-8"
                )


def _refuse(source: str, path: Path, row: int | None, what: str) -> NoReturn:
    place = "" if row is None else f", row {row}"
    raise DataError(f"source {source!r}: {path}{place} {what}")
