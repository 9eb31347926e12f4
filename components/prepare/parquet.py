"""Rows of Parquet files, within bounds that hold whatever the file says of itself.

A file of 500 bytes can hold gigabytes: one text that is repeated, or a column of zeros.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from components.prepare.rows import MOST_BYTES, TOO_GREAT, ColumnError, Row, columns_of, refuse

MOST_CELLS = 20_000_000
# A file that unpacks to more than this, and to so many times its size, is no set of prompts.
_UNSUSPICIOUS, _MOST_PACKED = 64 << 20, 200
_BATCH = 256  # rows


def read_parquet(path: Path, source: str) -> Iterator[Row]:
    """Yield the numbered rows of a .parquet file; raises `DataError` for one that is none, repeats
    a column or unpacks to too much."""
    import pyarrow

    number = size = 0
    most = min(MOST_BYTES, max(_UNSUSPICIOUS, _MOST_PACKED * path.stat().st_size))
    try:
        for names, columns in _batches(path, source):
            size += sum(map(_bytes, columns))
            if size > most:
                refuse(source, path, number + 1, f"unpacks to over {most >> 20} MiB; split it")
            for cells in zip(*map(_cells, columns), strict=True):
                number += 1
                yield number, dict(zip(names, cells, strict=True))
    except ColumnError as error:
        refuse(source, path, None, str(error))
    except (pyarrow.ArrowException, ValueError, OverflowError, MemoryError) as error:
        refuse(source, path, number + 1, f"is not Parquet ({error}); write the file again")


def _batches(path: Path, source: str) -> Iterator[tuple[list[str], list[Any]]]:
    """Yield the columns' names and some rows of them. Repeated texts stay packed: a text of 1 MB
    in every row takes 1 MB."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        metadata = file.metadata
        names = list(columns_of([(name, None) for name in file.schema_arrow.names]))
    chunks = [
        metadata.row_group(group).column(column)
        for group in range(metadata.num_row_groups)
        for column in range(metadata.num_columns)
    ]
    cells = max(metadata.num_rows * len(names), sum(chunk.num_values for chunk in chunks))
    if cells > MOST_CELLS or sum(c.total_uncompressed_size for c in chunks) > MOST_BYTES:
        refuse(source, path, None, TOO_GREAT)
    texts = [
        metadata.schema.column(i).path
        for i in range(metadata.num_columns)
        if metadata.schema.column(i).logical_type.type in ("STRING", "JSON", "ENUM")
    ]
    with parquet.ParquetFile(path, read_dictionary=texts) as file:
        for batch in file.iter_batches(batch_size=_BATCH):
            yield names, batch.columns


def _bytes(column: Any) -> int:
    """Return how many bytes an Arrow array takes when its repeated texts are unpacked."""
    from pyarrow import compute, types

    kind = column.type
    if types.is_dictionary(kind):
        lengths = compute.binary_length(column.dictionary) if _is_text(kind.value_type) else None
        each = (
            column.dictionary.nbytes if lengths is None else compute.take(lengths, column.indices)
        )
        return each * len(column) if lengths is None else compute.sum(each).as_py() or 0
    if types.is_struct(kind):
        return sum(_bytes(column.field(i)) for i in range(kind.num_fields))
    if types.is_map(kind):
        return _bytes(column.keys) + _bytes(column.items)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return column.nbytes + _bytes(column.flatten())
    return column.nbytes


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind)


def _cells(column: Any) -> list[Any]:
    """Return the cells of an Arrow array; numbers of single precision as they are written."""
    return [as_written(cell, column.type) for cell in column.to_pylist()]


def as_written(cell: Any, kind: Any) -> Any:
    """Return a cell of an Arrow type with its numbers of single precision as they are written:
    0.1, not 0.10000000149011612. They may lie in lists and mappings."""
    from pyarrow import types

    if types.is_float32(kind) or types.is_float16(kind):
        single = np.float32 if types.is_float32(kind) else np.float16
        return None if cell is None else Decimal(str(single(cell)))
    if types.is_struct(kind) and isinstance(cell, dict):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        return {field.name: as_written(cell.get(field.name), field.type) for field in fields}
    if (types.is_list(kind) or types.is_large_list(kind)) and isinstance(cell, list):
        return [as_written(item, kind.value_type) for item in cell]
    return cell
