"""What is left of each role, and that nothing goes without a word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.core.errors import DataError
from components.prepare.settings import PrepareSettings
from components.prepare.stage import build_table

NAMES = [f"{a}{b}" for a in ("ann", "bob", "cat", "dan", "eve") for b in ("a", "b", "c", "d", "e")]


def section(folder: Path, sources: dict[str, list[dict]], **settings) -> PrepareSettings:
    listed = []
    for name, rows in sources.items():
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        listed.append({"name": name, "path": str(path), "licence": "MIT", "role": name})
    return PrepareSettings.model_validate({"sources": listed, "min_rows": {}, **settings})


def distinct(role: str, count: int) -> list[dict]:
    return [{"text": f"{role} w{i} x{i} y{i}", "topic": f"{role}{i}"} for i in range(count)]


def framed() -> list[dict]:
    """Problems in one sentence frame of nine words behind a name of its own."""
    frame = "has four apples and buys nine more how many"
    return [
        {"text": f"{name} {frame} does {name} have", "answer": "13", "topic": name}
        for name in NAMES
    ]


def test_what_became_of_every_row_of_a_role(tmp_path):
    harmful = [*distinct("harmful", 40), {"text": "", "topic": "none"}]
    harmful.append(dict(harmful[0]))
    sources = {"harmful": harmful, "benign": distinct("benign", 40)}
    account = build_table(section(tmp_path, sources, max_quarantined=0.5), {}, seed=0).account
    assert account[0].startswith("harmful: 42 rows read; 1 set aside (")
    assert "1 set aside (duplicate id)" in account[0] and "(empty text)" in account[0]
    assert account[1] == "benign: 40 rows read; left: train 22, validation 6, test 12"


def test_rows_of_one_sentence_frame_are_not_lost_in_silence(tmp_path):
    sources = {"harmful": distinct("harmful", 40), "reasoning": framed()}
    with pytest.raises(DataError, match=r"no reasoning row is left in train: each of the 14") as no:
        build_table(section(tmp_path, sources), {}, seed=0)
    assert "with prepare.overlap_ngram: 12, 14 of 14 stay" in str(no.value)
    table = build_table(section(tmp_path, sources, overlap_ngram=12), {}, seed=0)
    assert table.account[1] == "reasoning: 25 rows read; left: train 14, validation 4, test 7"


def test_no_longer_run_is_named_where_none_leaves_rows(tmp_path):
    long = " ".join(f"word{i}" for i in range(90))
    rows = [{"text": f"{name} {long}", "answer": "1", "topic": name} for name in NAMES]
    sources = {"harmful": distinct("harmful", 40), "reasoning": rows}
    with pytest.raises(DataError, match="use prompts that differ"):
        build_table(section(tmp_path, sources), {}, seed=0)


def test_too_few_rows_are_an_error_that_accounts_for_the_others(tmp_path):
    leaking = [
        {"text": f"the same eight words in a row here {i}", "topic": f"{i}"} for i in range(4)
    ]
    sources = {"harmful": [*distinct("harmful", 40), *leaking], "benign": distinct("benign", 10)}
    with pytest.raises(DataError) as too_few:
        build_table(section(tmp_path, sources, min_rows={"benign": 20}), {}, seed=0)
    message = str(too_few.value)
    assert "fewer than 20 benign rows in train" in message
    assert "benign: 10 rows read; left: train" in message
    assert "dropped (they share a run of 8 words with a test row)" in message
