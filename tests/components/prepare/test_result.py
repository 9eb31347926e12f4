"""Which suites are marked, and what is said of them; the sentences are written by hand."""

from __future__ import annotations

import pytest

from components.core.vocabulary import Role, Split
from components.prepare.result import LEAK_MARK, leak_mark, leak_notes
from tests.evidence import leak, no_leaks


def test_a_suite_of_which_nothing_was_found_is_not_marked():
    assert leak_notes(()) == {}
    assert leak_notes(no_leaks(["harmful"])) == {}


def test_what_was_dropped_is_counted_though_nothing_of_it_is_left():
    leaks = (*no_leaks(["harmful"]), leak("mine", "run", 3, 0, dropped=5), leak("mine", "copy", 1))
    assert leak_notes(leaks) == {
        "mine": "mine: training as it came repeated 3 of 300 prompts; 5 training rows were dropped "
        "for it; none is repeated in what was trained on."
    }


def test_a_note_reports_the_measure_with_more_left():
    told = leak_notes([leak("mine", "run", 4, 1, dropped=2), leak("mine", "copy", 3, 2, dropped=2)])
    assert "repeated 3 of 300 prompts; 2 training rows" in told["mine"]
    assert told["mine"].endswith("; 2 of 300 prompts are repeated in what was trained on.")


def test_much_of_the_wording_marks_by_itself():
    assert leak_notes([leak("mine", "run"), leak("mine", "share", 7, 6)]) == {
        "mine": "mine: 7 of 300 prompts shared much of their wording with training as it came, 6 "
        "with what was trained on."
    }


@pytest.mark.parametrize(
    ("metric", "marked"),
    [
        ("mine.correct", True),
        ("mine.forced_thought.thought.complied", True),
        ("mine", True),
        ("mines.correct", False),
        ("evidence", False),
    ],
)
def test_every_metric_of_a_suite_is_marked_and_no_other(metric: str, marked: bool):
    assert leak_mark(metric, {"mine": "…"}) == (LEAK_MARK if marked else "")


def test_prompts_are_read_by_split_and_role(random_prompts):
    assert len(random_prompts.rows()) == 96
    rows = random_prompts.rows(split=Split.TRAIN, role=Role.REASONING)
    assert len(rows) == 12
    assert {(row.split, row.role) for row in rows} == {(Split.TRAIN, Role.REASONING)}
    assert all(row.answer is not None for row in rows)
    tests = random_prompts.own_test()
    assert len(tests) == 48 and {row.split for row in tests} == {Split.TEST}
    with pytest.raises(AssertionError):
        random_prompts.rows(split=Split.TEST)
