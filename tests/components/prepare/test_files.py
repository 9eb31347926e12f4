"""Every file that cannot be read is one error with source, row and remedy."""

from __future__ import annotations

import json
import os
import tracemalloc
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from components.core.errors import DataError
from components.prepare.files import LONGEST_LINE, read_file
from components.prepare.sources import map_rows
from tests.components.prepare.rows import source_of


def test_reads_the_same_rows_from_every_format_with_their_numbers(tmp_path: Path):
    rows = [
        {"text": "bake a cake", "role": "benign"},
        {"text": 'say "hi", twice', "role": "benign"},
    ]
    (tmp_path / "a.jsonl").write_text(
        '{"text": "bake a cake", "role": "benign"}\n\n'
        '{"text": "say \\"hi\\", twice", "role": "benign"}\n'
    )
    (tmp_path / "a.csv").write_text('text,role\nbake a cake,benign\n"say ""hi"", twice",benign\n')
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    for name, numbers in {"a.jsonl": (1, 3), "a.csv": (2, 3), "a.parquet": (1, 2)}.items():
        assert read_file(tmp_path / name, source="s") == list(zip(numbers, rows, strict=True))


def test_a_quoted_csv_cell_may_hold_a_line_end(tmp_path: Path):
    (tmp_path / "a.csv").write_text('text\n"one\ntwo"\nthree\n')
    assert read_file(tmp_path / "a.csv", source="s") == [
        (3, {"text": "one\ntwo"}),
        (4, {"text": "three"}),
    ]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"x", ["not one of .jsonl, .csv, .parquet", "convert"]),
        ("a.jsonl", b"", ["holds no rows"]),
        ("a.csv", b"text,role\n", ["holds no rows"]),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', ["row 2", "is not JSON", "remove the line"]),
        ("a.jsonl", b'["a"]\n', ["row 1", "is a list"]),
        ("a.jsonl", b"[" * 100_000 + b"\n", ["row 1", "nested too deeply"]),
        ("a.jsonl", b'\xef\xbb\xbf{"text": "a"}\n', ["row 1", "byte order mark", "UTF-8 without"]),
        ("a.csv", "text\na\n".encode("utf-16"), ["row 1", "byte order mark"]),
        ("a.jsonl", b'{"text": "a"}\n{"text": "caf\xe9"}\n', ["row 2", "is not UTF-8", "save it"]),
        ("a.jsonl", b"x" * (LONGEST_LINE + 1), ["row 1", "longer than", "each line"]),
        ("a.csv", b"text,text\na,b\n", ["row 1", "names a column twice"]),
        ("a.csv", b"text,role\na,b\na\n", ["row 3", "has 1 cells for 2 columns"]),
        ("a.csv", b'text\n"open\n', ["is not CSV"]),
        ("a.csv", b'text\nfine\n"open\nmore\nlines\n', ["row 3", "is not CSV", "quotation mark"]),
        ("a.csv", b"text, text\na,b\n", ["row 1", "names a column twice: 'text'"]),
        ("a.csv", "text\na\n".encode("utf-16-le"), ["row 1", "NUL", "UTF-8"]),
        ("a.jsonl", b'{"text": "x", "text": "y"}\n', ["row 1", "names a column twice: 'text'"]),
        ("a.jsonl", b'{"text": "x", " text": "y"}\n', ["row 1", "names a column twice: 'text'"]),
        ("a.jsonl", b'{"text": {"a": 1, "a": 2}}\n', ["row 1", "names a column twice: 'a'"]),
        ("a.jsonl", b'{"text": ' + b"[" * 100_000 + b"\n", ["row 1", "nested too deeply"]),
        ("a.jsonl", b'{"answer": ' + b"9" * 6000 + b"}\n", ["row 1", "6000 char", "as text"]),
        ("a.jsonl", b'{"answer": 0.' + b"9" * 6000 + b"}\n", ["row 1", "as text"]),
        ("a.jsonl", b'{"answer": 1e99999999999999999999}\n', ["row 1", "as text"]),
        ("a.jsonl", b'{"answer": NaN}\n', ["row 1", "NaN", "empty"]),
        ("a.jsonl", b'{"answer": -Infinity}\n', ["row 1", "-Infinity", "empty"]),
        ("a.jsonl", b'{"text": "a"}\r{"text": "b"}\r', ["row 1", "is not JSON"]),
        ("a.jsonl.gz", b"\x1f\x8b", ["not one of", "convert"]),
        ("a.parquet", b"", ["is not Parquet", "write the file again"]),
        ("a.parquet", b"PAR1 no", ["is not Parquet"]),
    ],
)
def test_unreadable_files_name_source_row_and_remedy(tmp_path: Path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        read_file(tmp_path / name, source="mine")
    message = str(error.value)
    assert message.startswith("source 'mine'") and name in message
    for word in words:
        assert word in message


def test_a_missing_file_names_the_remedy(tmp_path: Path):
    with pytest.raises(DataError, match=r"source 'mine': .*gone.jsonl is missing; .*`path`"):
        read_file(tmp_path / "gone.jsonl", source="mine")


def rows_of(path: Path) -> list[dict]:
    return [row for _, row in read_file(path, source="s")]


def candidates(path: Path):
    return map_rows(read_file(path, source="s"), source_of(role="reasoning"))


def test_a_blank_around_a_columns_name_does_not_lose_it(tmp_path: Path):
    (tmp_path / "a.csv").write_text("text, answer \nhello,5\n")
    (tmp_path / "a.jsonl").write_text('{"text": "hello", " answer": "5"}\n')
    parquet.write_table(pa.table({"text ": ["hello"], " answer": ["5"]}), tmp_path / "a.parquet")
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        assert rows_of(tmp_path / name) == [{"text": "hello", "answer": "5"}]
        assert candidates(tmp_path / name)[0].answer == "5"


@pytest.mark.parametrize("unseen", ["\u200b", "\ufeff", "\u2060", "\u00a0\u200e"])
def test_what_nobody_sees_in_a_columns_name_does_not_lose_it(tmp_path: Path, unseen):
    (tmp_path / "a.csv").write_text(f"text,{unseen}answer{unseen}\nhello,5\n")
    (tmp_path / "a.jsonl").write_text(f'{{"text": "hello", "{unseen}answer": "5"}}\n')
    for name in ("a.csv", "a.jsonl"):
        assert rows_of(tmp_path / name) == [{"text": "hello", "answer": "5"}]
    (tmp_path / "a.csv").write_text(f"text,{unseen}text\nhello,5\n")
    with pytest.raises(DataError, match="names a column twice: 'text'"):
        read_file(tmp_path / "a.csv", source="s")


def test_a_blank_before_a_quotation_mark_of_csv_is_no_part_of_the_cell(tmp_path: Path):
    (tmp_path / "a.csv").write_text('"text", "answer"\n"say ""hi"", then go", "5"\n')
    assert rows_of(tmp_path / "a.csv") == [{"text": 'say "hi", then go', "answer": "5"}]


def test_a_column_that_is_twice_in_parquet_is_refused(tmp_path: Path):
    table = pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["text", "text"])
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"'s': .*a.parquet names a column twice: 'text'"):
        read_file(tmp_path / "a.parquet", source="s")


@given(st.decimals(allow_nan=False, allow_infinity=False, places=12) | st.floats(-1e25, 1e25))
def test_numbers_keep_a_spelling_that_answers_match(tmp_path_factory, number):
    path = tmp_path_factory.mktemp("numbers") / "a.jsonl"
    path.write_text(f'{{"text": "How many?", "answer": {number}}}\n')
    (row,) = candidates(path)
    assert row.answer is not None and Decimal(row.answer) == Decimal(str(number))
    assert "e" not in row.answer.lower() or abs(Decimal(str(number)).adjusted()) > 30


def test_numbers_of_every_format_are_written_out(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text(
        '{"text": "a", "answer": 0.00001}\n{"text": "b", "answer": 12000000000000000000.0}\n'
        '{"text": "c", "answer": 12.0}\n{"text": "d", "answer": 1e-7}\n'
    )
    told = [row.answer for row in candidates(tmp_path / "a.jsonl")]
    assert told == ["0.00001", "12000000000000000000.0", "12.0", "0.0000001"]
    for kind in (np.float16, np.float32, np.float64):
        table = {"text": ["a", "b", "c"], "answer": np.array([0.1, 12.0, np.nan], dtype=kind)}
        parquet.write_table(pa.table(table), tmp_path / "a.parquet")
        assert [row.answer for row in candidates(tmp_path / "a.parquet")] == ["0.1", "12.0", None]
    options = pa.array(
        [{"right": 0.1, "wrong": [0.3, None]}],
        pa.struct([("right", pa.float32()), ("wrong", pa.list_(pa.float32()))]),
    )
    parquet.write_table(pa.table({"options": options}), tmp_path / "a.parquet")
    ((_, row),) = read_file(tmp_path / "a.parquet", source="mine")
    assert row["options"] == {"right": Decimal("0.1"), "wrong": [Decimal("0.3"), None]}
    table = {"text": ["a"], "answer": [Decimal("0.000010")]}
    parquet.write_table(pa.table(table), tmp_path / "a.parquet")
    assert candidates(tmp_path / "a.parquet")[0].answer == "0.000010"


@pytest.mark.parametrize(
    "cell", [["a"], {"a": "b"}, b"bytes", pd.Timestamp("2026-01-01"), float("inf")], ids=str
)
def test_a_cell_that_is_no_text_names_its_row_and_column(tmp_path: Path, cell):
    parquet.write_table(pa.table({"text": ["a"], "answer": [cell]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"'s', row 1: column 'answer' holds .*as text"):
        candidates(tmp_path / "a.parquet")


def test_columns_of_a_dictionary_are_read_as_their_texts(tmp_path: Path):
    column = pa.array(["a", None, "a", "b"]).dictionary_encode()
    parquet.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    assert [row["text"] for row in rows_of(tmp_path / "a.parquet")] == ["a", None, "a", "b"]


def repeated(value: str, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(rows, dtype=np.int32)), pa.array([value])
    )


BOMBS = {
    "one text again and again": lambda: {"text": repeated("a" * 1_000_000, 20_000)},
    "texts in lists": lambda: {
        "text": pa.ListArray.from_arrays(
            pa.array([0, 5_000, 10_000], pa.int32()), repeated("a" * 1_000_000, 10_000)
        )
    },
    "zeros": lambda: {"text": pa.array(np.zeros(30_000_000, dtype=np.int8))},
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_parquet_file_does_not_grow_to_gigabytes(tmp_path: Path, bomb):
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table(BOMBS[bomb]()), path, compression="zstd")
    assert path.stat().st_size < 300_000
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    try:
        with pytest.raises(DataError, match=r"source 's': .*a.parquet.* split it"):
            read_file(path, source="s")
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
        assert pa.total_allocated_bytes() - before < 200 << 20
    finally:
        tracemalloc.stop()


def test_a_folder_and_a_pipe_are_no_files(tmp_path: Path):
    (tmp_path / "a.jsonl").mkdir()
    os.mkfifo(tmp_path / "b.jsonl")
    for name in ("a.jsonl", "b.jsonl"):
        with pytest.raises(DataError, match="is a folder or a device; name a file"):
            read_file(tmp_path / name, source="s")


@given(st.binary(max_size=200), st.sampled_from([".jsonl", ".csv", ".parquet"]))
def test_no_bytes_break_the_readers(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("bytes") / f"a{suffix}"
    path.write_bytes(content)
    try:
        rows = read_file(path, source="s")
    except DataError as error:
        assert str(error).startswith("source 's'") and path.name in str(error)
    else:
        assert rows and all(isinstance(row, dict) for _, row in rows)


@given(
    st.lists(st.dictionaries(st.sampled_from(["text", "answer"]), st.text(max_size=9)), min_size=1)
)
def test_what_is_written_is_read(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    assert rows_of(path) == rows
