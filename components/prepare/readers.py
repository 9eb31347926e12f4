"""Files on disk as numbered rows of columns.

A row's number is what a person looks up: the line of a .jsonl or .csv file (of a quoted csv row:
its last), the ordinal from 1 of a .parquet row. Every error is one `DataError` that names
the source, the row and the remedy.

A column's name is what is left of it without white space around it; a name that is there twice is
refused in every format. Numbers keep a spelling that answers match: 0.00001 does not become 1e-05.
Every format has the same bounds, so that no small file fills the memory.
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NoReturn

from components.prepare.parquet import read_parquet
from components.prepare.rows import (
    LONGEST_LINE,
    MOST_BYTES,
    TOO_GREAT,
    ColumnError,
    Row,
    columns_of,
    refuse,
)

log = logging.getLogger(__name__)

LONGEST_NUMBER = 1000  # characters
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def read_file(path: Path, *, source: str) -> list[Row]:
    """Return the numbered rows of a local .jsonl, .csv or .parquet file.

    Raises `DataError` for a missing, empty, foreign or unreadable file, naming the row.
    """
    readers = {".jsonl": _read_json_lines, ".csv": _read_csv, ".parquet": read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        refuse(source, path, None, f"is not one of {', '.join(readers)}; convert it")
    if not path.exists():
        refuse(source, path, None, "is missing; put the file there (`dvc pull`?) or mend `path`")
    if not path.is_file():
        refuse(source, path, None, "is a folder or a device; name a file in `path`")
    try:
        rows = list(reader(path, source))
    except OSError as error:
        refuse(source, path, None, f"cannot be read: {error.strerror or error}")
    if not rows:
        refuse(source, path, None, "holds no rows; fill it or remove the source")
    log.info("%s: %d rows", source, len(rows))
    return rows


def _read_json_lines(path: Path, source: str) -> Iterator[Row]:
    for number, line in _lines(path, source):
        if not line.strip():
            continue
        try:
            row = json.loads(
                line,
                parse_float=_number,
                parse_int=_whole_number,
                parse_constant=_no_number,
                object_pairs_hook=columns_of,
            )
        except RecursionError:
            refuse(source, path, number, "is nested too deeply; keep one flat object a line")
        except ColumnError as error:
            refuse(source, path, number, str(error))
        except ValueError as error:
            refuse(source, path, number, f"is not JSON ({error}); mend or remove the line")
        if not isinstance(row, dict):
            refuse(source, path, number, f"is a {type(row).__name__}, not an object of columns")
        yield number, row


def _read_csv(path: Path, source: str) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_LINE)
    lines = csv.reader((line for _, line in _lines(path, source)), strict=True)
    header: list[str] | None = None
    begun = 0  # the line before the row that is read
    try:
        for cells in lines:
            begun = lines.line_num
            if not cells:
                continue
            if header is None:
                header = list(columns_of([(name, None) for name in cells]))
            elif len(cells) != len(header):
                refuse(
                    source,
                    path,
                    lines.line_num,
                    f"has {len(cells)} cells for {len(header)} columns; quote cells with commas",
                )
            else:
                yield lines.line_num, dict(zip(header, cells, strict=True))
    except ColumnError as error:
        refuse(source, path, lines.line_num, str(error))
    except csv.Error as error:
        told = f"is not CSV ({error}); is a quotation mark open? Mend or remove it"
        refuse(source, path, begun + 1, told)


def _number(word: str) -> Decimal:
    if len(word) > LONGEST_NUMBER:
        raise ValueError(f"a number of {len(word)} characters; give it as text")
    try:
        return Decimal(word)
    except InvalidOperation:
        raise ValueError(f"the number {word}; give it as text") from None


def _whole_number(word: str) -> int:
    _number(word)
    return int(word)


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON; leave the cell empty, or give it as text")


def _lines(path: Path, source: str) -> Iterator[tuple[int, str]]:
    if path.stat().st_size > MOST_BYTES:
        refuse(source, path, None, TOO_GREAT)
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                refuse(
                    source,
                    path,
                    number,
                    f"is longer than {LONGEST_LINE} bytes; put one row on each line",
                )
            if number == 1 and line.startswith(_MARKS):
                refuse(
                    source, path, 1, "starts with a byte order mark; save it as UTF-8 without one"
                )
            if b"\0" in line:
                refuse(source, path, number, "holds a NUL byte; save it as UTF-8 text")
            try:
                yield number, line.decode("utf-8")
            except UnicodeDecodeError as error:
                refuse(source, path, number, f"is not UTF-8 (byte {error.start}); save it as UTF-8")
