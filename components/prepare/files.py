"""Files as numbered rows of columns, within bounds that hold whatever a file says of itself.

A row's number is what a person looks up: the line of a .jsonl or .csv file (of a quoted csv row:
its last), the ordinal from 1 of a .parquet row. A column's name is what is left of it without white
space around it and characters that nobody sees; a name that is there twice is refused. Numbers are
spelled as answers spell them: 0.00001 does not become 1e-05. A Parquet file of 500 bytes can hold
gigabytes: one text that is repeated, or a column of zeros.
"""

from __future__ import annotations

import csv
import json
import logging
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np

from components.core.errors import DataError

Row = tuple[int, dict[str, Any]]

log = logging.getLogger(__name__)

# A prompt with its answer is a few kilobytes; a longer line is a file that lost its line ends.
LONGEST_LINE = 1 << 20
LONGEST_NUMBER = 1000  # characters
MOST_BYTES = 1 << 30  # of all rows together, decoded
MOST_CELLS = 20_000_000
# A file that unpacks to more than this, and to so many times its size, is no set of prompts.
_UNSUSPICIOUS, _MOST_PACKED = 64 << 20, 200
_BATCH = 256  # rows of Parquet
_TOO_GREAT = "holds more than fits into memory; split it, or take a sample of its rows"
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")  # no white space to Python


class _Fault(Exception):
    """What is wrong with a file, and in which of its rows."""

    def __init__(self, what: str, row: int | None = None) -> None:
        super().__init__(what)
        self.row = row


def read_file(path: Path, *, source: str) -> list[Row]:
    """Return the numbered rows of a local .jsonl, .csv or .parquet file.

    Raises `DataError` for a missing, empty, foreign or unreadable file, naming source and row.
    """
    readers = {".jsonl": _read_json_lines, ".csv": _read_csv, ".parquet": _read_parquet}
    try:
        reader = readers.get(path.suffix.lower())
        if reader is None:
            raise _Fault(f"is not one of {', '.join(readers)}; convert it")
        if not path.exists():
            raise _Fault("is missing; put the file there (`dvc pull`?) or mend `path`")
        if not path.is_file():
            raise _Fault("is a folder or a device; name a file in `path`")
        rows = list(reader(path))
        if not rows:
            raise _Fault("holds no rows; fill it or remove the source")
    except _Fault as fault:
        row = "" if fault.row is None else f", row {fault.row}"
        raise DataError(f"source {source!r}: {path}{row} {fault}") from fault
    except OSError as error:
        why = error.strerror or error
        raise DataError(f"source {source!r}: {path} cannot be read: {why}") from error
    log.info("%s: %d rows", source, len(rows))
    return rows


def _by_name(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if (bare := _UNSEEN.sub("", name).strip()) in found:
            raise _Fault(f"names a column twice: {bare!r}; name each once")
        found[bare] = value
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    if path.stat().st_size > MOST_BYTES:
        raise _Fault(_TOO_GREAT)
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                what = f"is longer than {LONGEST_LINE} bytes; put one row on each line"
                raise _Fault(what, number)
            if number == 1 and line.startswith(_MARKS):
                raise _Fault("starts with a byte order mark; save it as UTF-8 without one", 1)
            if b"\0" in line:
                raise _Fault("holds a NUL byte; save it as UTF-8 text", number)
            try:
                yield number, line.decode("utf-8")
            except UnicodeDecodeError as error:
                what = f"is not UTF-8 (byte {error.start}); save it as UTF-8"
                raise _Fault(what, number) from None


def _read_json_lines(path: Path) -> Iterator[Row]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(
                line,
                parse_float=_number,
                parse_int=lambda literal: int(_number(literal)),
                parse_constant=_number,
                object_pairs_hook=_by_name,
            )
        except RecursionError:
            raise _Fault("is nested too deeply; keep one flat object a line", number) from None
        except _Fault as fault:
            raise _Fault(str(fault), number) from None
        except ValueError as error:
            raise _Fault(f"is not JSON ({error}); mend or remove the line", number) from error
        if not isinstance(row, dict):
            raise _Fault(f"is a {type(row).__name__}, not an object of columns", number)
        yield number, row


def _number(literal: str) -> Decimal:
    if literal.lstrip("-").isalpha():  # NaN, Infinity
        raise ValueError(
            f"{literal} is no number of JSON; leave the cell empty, or give it as text"
        )
    if len(literal) > LONGEST_NUMBER:
        raise ValueError(f"a number of {len(literal)} characters; give it as text")
    try:
        return Decimal(literal)
    except InvalidOperation:
        raise ValueError(f"the number {literal}; give it as text") from None


def _read_csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_LINE)
    lines = csv.reader((line for _, line in _lines(path)), strict=True, skipinitialspace=True)
    header: list[str] | None = None
    before = 0  # the last line of the row before
    try:
        for cells in lines:
            before = lines.line_num
            if not cells:
                continue
            if header is None:
                header = list(_by_name((name, None) for name in cells))
            elif len(cells) == len(header):
                yield before, dict(zip(header, cells, strict=True))
            else:
                counts = f"{len(cells)} cells for {len(header)} columns"
                raise _Fault(f"has {counts}; quote cells with commas", before)
    except _Fault as fault:
        raise _Fault(str(fault), fault.row or before) from None
    except csv.Error as error:
        what = f"is not CSV ({error}); is a quotation mark open? Mend or remove it"
        raise _Fault(what, before + 1) from error


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow

    number = size = 0
    most = min(MOST_BYTES, max(_UNSUSPICIOUS, _MOST_PACKED * path.stat().st_size))
    try:
        for names, columns in _batches(path):
            size += sum(map(_unpacked_bytes, columns))
            if size > most:
                raise _Fault(f"unpacks to over {most >> 20} MiB; split it", number + 1)
            cells = [[as_written(c, column.type) for c in column.to_pylist()] for column in columns]
            for row in zip(*cells, strict=True):
                number += 1
                yield number, dict(zip(names, row, strict=True))
    except (pyarrow.ArrowException, ValueError, OverflowError, MemoryError) as error:
        raise _Fault(f"is not Parquet ({error}); write the file again", number + 1) from error


def _batches(path: Path) -> Iterator[tuple[list[str], list[Any]]]:
    """Yield the columns' names and some rows of them. Repeated texts stay packed: a text of 1 MB
    in every row takes 1 MB."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        metadata, names = file.metadata, file.schema_arrow.names
    names = list(_by_name((name, None) for name in names))
    chunks = [
        metadata.row_group(group).column(column)
        for group in range(metadata.num_row_groups)
        for column in range(metadata.num_columns)
    ]
    cells = max(metadata.num_rows * len(names), sum(chunk.num_values for chunk in chunks))
    if cells > MOST_CELLS or sum(c.total_uncompressed_size for c in chunks) > MOST_BYTES:
        raise _Fault(_TOO_GREAT)
    columns = [metadata.schema.column(i) for i in range(metadata.num_columns)]
    texts = [c.path for c in columns if c.logical_type.type in ("STRING", "JSON", "ENUM")]
    with parquet.ParquetFile(path, read_dictionary=texts) as file:
        for batch in file.iter_batches(batch_size=_BATCH):
            yield names, batch.columns


def _unpacked_bytes(column: Any) -> int:
    """Return how many bytes an Arrow array takes when its repeated texts are unpacked."""
    import pyarrow as pa
    from pyarrow import compute, types

    kind = column.type
    if types.is_dictionary(kind):
        values, texts = column.dictionary, (pa.string(), pa.large_string(), pa.binary())
        if values.type not in texts:
            return values.nbytes * len(column)
        lengths = compute.take(compute.binary_length(values), column.indices)
        return compute.sum(lengths).as_py() or 0
    if types.is_struct(kind):
        return sum(_unpacked_bytes(column.field(i)) for i in range(kind.num_fields))
    if types.is_map(kind):
        return _unpacked_bytes(column.keys) + _unpacked_bytes(column.items)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return column.nbytes + _unpacked_bytes(column.flatten())
    return column.nbytes


def as_written(cell: Any, kind: Any) -> Any:
    """Return a cell of an Arrow type with its numbers of single precision as they are written:
    0.1, not 0.10000000149011612. They may lie in lists and mappings."""
    from pyarrow import types

    if types.is_float32(kind) or types.is_float16(kind):
        single = np.float32 if types.is_float32(kind) else np.float16
        return None if cell is None else Decimal(str(single(cell)))
    if types.is_struct(kind) and isinstance(cell, dict):
        return {field.name: as_written(cell.get(field.name), field.type) for field in kind}
    if (types.is_list(kind) or types.is_large_list(kind)) and isinstance(cell, list):
        return [as_written(item, kind.value_type) for item in cell]
    return cell
