"""Options with letters: every one shown once, the right one found again, the order the seed's."""

from __future__ import annotations

from collections import Counter

import pytest

from components.core.errors import DataError
from components.prepare.sources import letter_options
from components.prepare.suites import Choice

FIXED = ("good", "bad 1", "bad 2", "bad 3")


def lettered(rows, *, text: str = "q", options=FIXED, answer: str = "good", seed: int = 0):
    choice = Choice(options=options, answer=answer)
    return letter_options(rows, choice, source="quiz", text=text, seed=seed)


def rows(count: int) -> list[tuple[int, dict[str, str]]]:
    return [
        (
            i,
            {
                "q": f"question {i}?",
                "good": f"yes {i}",
                **{f"bad {k}": f"no {k}" for k in (1, 2, 3)},
            },
        )
        for i in range(1, count + 1)
    ]


def shown(text: str) -> dict[str, str]:
    """Return the options of a prompt by letter."""
    return dict(line.split(") ") for line in text.split("\n\n")[1].splitlines())


def test_a_row_worked_by_hand():
    ((number, row),) = lettered(rows(1))
    question, options = row["text"].split("\n\n")
    assert (number, question) == (1, "question 1?")
    assert [line[:3] for line in options.splitlines()] == ["A) ", "B) ", "C) ", "D) "]
    assert sorted(shown(row["text"]).values()) == ["no 1", "no 2", "no 3", "yes 1"]
    assert shown(row["text"])[row["answer"]] == "yes 1"


def test_the_right_option_is_behind_every_letter_equally_often():
    found = lettered(rows(400))
    assert all(shown(row["text"])[row["answer"]].startswith("yes") for _, row in found)
    counts = Counter(row["answer"] for _, row in found)
    assert all(70 <= counts[letter] <= 130 for letter in "ABCD")


def test_the_order_depends_on_seed_and_question_alone():
    whole = lettered(rows(20))
    assert whole[7:12] == lettered(rows(20)[7:12])
    assert whole != lettered(rows(20), seed=1)


def test_options_in_a_mapping_with_the_letter_beside_it():
    row = {"q": "which?", "options": {"A": "one", "B": "two", "C": "three"}, "key": "(b)", "x": 1}
    options = ("options.A", "options.B", "options.C")
    ((_, found),) = lettered([(1, row)], options=options, answer="key")
    assert shown(found["text"])[found["answer"]] == "two"
    assert found["x"] == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"key": "E"}, "row 1: column 'key' holds 'E', not a letter from A to C"),
        ({"key": "AB"}, "holds 'AB', not a letter"),
        ({"key": ""}, "row 1: column 'key' is empty"),
        ({"b": None}, "row 1: column 'b' is empty"),
        ({"c": ["x"]}, "column 'c' holds a list"),
    ],
)
def test_what_cannot_be_lettered_is_named(change, told):
    row = {"q": "which?", "a": "one", "b": "two", "c": "three", "key": "A"} | change
    with pytest.raises(DataError, match=f"source 'quiz', .*{told}"):
        lettered([(1, row)], options=("a", "b", "c"), answer="key")


def test_unknown_columns_are_named_with_the_setting():
    with pytest.raises(DataError, match=r"no column 'best'; .*mend `choice`"):
        lettered(rows(1), answer="best")
    with pytest.raises(DataError, match=r"no column 'question'; .*mend `columns`"):
        lettered(rows(1), text="question")
