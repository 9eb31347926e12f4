"""The benchmark of growth counts as it says, and its source is as large as it says."""

from __future__ import annotations

import json
from collections import Counter

from benchmarks.growth import make_source, table
from components.core.vocabulary import Role


def test_ratios_by_hand():
    head, _, first, second = table("rows", ["gate"], [10, 20], [[(2.0, 100)], [(5.0, 150)]]).split(
        "\n"
    )[:4]
    assert head == "| rows | gate, s | MiB |"
    assert first == "| 10 | 2.0 | 100 |"
    assert second == "| 20 | 5.0 (× 2.5) | 150 (× 1.5) |"


def test_a_source_has_its_rows_in_four_roles_and_none_twice(tmp_path):
    make_source(tmp_path, 400)
    rows = [json.loads(line) for line in (tmp_path / "source.jsonl").read_text().splitlines()]
    assert Counter(row["role"] for row in rows) == dict.fromkeys(Role, 100)
    assert len({row["text"] for row in rows}) == 400
