"""Every file that cannot be read is one error with source, row and remedy."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from components.corpus.readers import LONGEST_LINE, read_file
from components.errors import DataError


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
