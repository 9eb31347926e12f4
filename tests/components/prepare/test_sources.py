"""Columns, patterns, where and limit: from rows of a file to candidates."""

from __future__ import annotations

import pytest

from components.core.errors import DataError
from components.prepare.sources import map_rows, sample_rows, select_rows
from tests.components.prepare.rows import rows_of, source_of


def mapped(rows, **settings):
    return rows_of(*rows, name="mine", **{"licence": "mit", **settings})


def test_worked_solutions_become_thought_and_answer():
    row = {
        "question": "Ann has 9 eggs and sells 2 each. How much?",
        "answer": "She makes 9 * 2 = $<<9*2=18>>18.\nThat is all.\n#### 18",
    }
    (one,) = mapped(
        [row],
        role="reasoning",
        columns={"text": "question", "thought": "answer", "answer": "answer"},
        patterns={"answer": r"####\s*(.+)$", "thought": r"^(.*?)\s*####"},
        drop="<<.*?>>",
    )
    assert one.text == row["question"]
    assert one.thought == "She makes 9 * 2 = $18.\nThat is all."
    assert one.answer == "18"
    assert (one.row, one.licence, one.topic, one.response) == (1, "MIT", None, None)


def test_topics_come_from_a_column_and_rows_from_where():
    rows = [
        (1, {"id": "v1", "prompt": "kill a process?", "type": "homonyms", "safe": True}),
        (2, {"id": "v2", "prompt": "kill a bear?", "type": "homonyms", "safe": False}),
        (3, {"id": "v3", "prompt": "end a job?", "type": " homo  nyms", "safe": "true"}),
    ]
    source = source_of(where={"safe": True}, columns={"text": "prompt", "topic": "type"})
    chosen = select_rows(rows, source)
    assert [number for number, _ in chosen] == [1, 3]
    found = map_rows(chosen, source)
    assert [c.topic for c in found] == ["homonyms", "homo nyms"]


def test_the_role_comes_from_its_column_and_the_licence_of_a_row_goes_first():
    rows = [{"text": "a", "role": "Harmful", "licence": "cc0-1.0"}, {"text": "b", "role": None}]
    first, second = mapped(rows, role=None)
    assert (first.role, first.licence) == ("harmful", "CC0-1.0")
    assert (second.role, second.licence) == ("", "MIT")


def test_numbers_are_text_and_empty_cells_are_nothing():
    (one,) = mapped([{"text": "a", "answer": 18, "thought": float("nan"), "response": ""}])
    assert (one.answer, one.thought, one.response) == ("18", None, None)


@pytest.mark.parametrize("columns", [{}, {"answer": "Answer"}])
def test_a_column_in_other_capitals_is_logged(caplog: pytest.LogCaptureFixture, columns: dict):
    (one,) = mapped([{"text": "a", "Answer": "5", "note": "b"}], columns=columns)
    assert one.answer == ("5" if columns else None)
    assert ("'Answer'" in caplog.text) is (not columns)


def test_a_pattern_without_a_match_leaves_the_field_empty():
    (one,) = mapped([{"text": "a", "answer": "no mark"}], patterns={"answer": "#### (.+)"})
    assert one.answer is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": {"text": "prompt"}}, r"no column 'prompt'; there are: text; mend `columns`"),
        ({"role": None}, r"no column 'role'; there are: text; mend `columns`"),
    ],
)
def test_an_unknown_column_lists_those_there_are(settings, message):
    with pytest.raises(DataError, match=f"source 'mine': {message}"):
        mapped([{"text": "a"}], **settings)


def test_a_cell_that_is_no_text_names_its_row():
    with pytest.raises(DataError, match="source 'mine', row 2: column 'text' holds a list"):
        mapped([{"text": "a"}, {"text": ["b"]}])


def test_where_must_know_its_column_and_leave_rows():
    rows = [(1, {"safe": False})]
    with pytest.raises(DataError, match=r"no column 'kind'; .*mend `where`"):
        select_rows(rows, source_of(where={"kind": "x"}))
    with pytest.raises(DataError, match=r"none of 1 rows has \{'safe': True\}"):
        select_rows(rows, source_of(where={"safe": True}))


def test_limit_draws_by_seed_and_keeps_the_order():
    rows = [(i, {"text": str(i)}) for i in range(100)]
    source = source_of("mine", limit=10)
    drawn = sample_rows(rows, source, seed=1)
    assert drawn == sorted(drawn) and len(drawn) == 10
    assert drawn == sample_rows(rows, source, seed=1)
    assert drawn != sample_rows(rows, source, seed=2)
    assert sample_rows(rows, source_of(limit=None), seed=1) == rows
