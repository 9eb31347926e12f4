"""Rows that fail are set aside with a reason; a table that fails stops with a remedy."""

from __future__ import annotations

import pytest

from components.core.errors import DataError, StageError
from components.core.vocabulary import Role
from components.prepare import validation
from components.prepare.expectations import (
    checks_of_rows,
    checks_of_table,
    row_frame,
    table_frame,
)
from components.prepare.validation import (
    find_faults,
    name_rows,
    refuse_too_many,
    require,
    separate,
)
from tests.components.prepare.rows import rows_of


def candidates(*rows, source="mine", split="auto"):
    cells = ({"role": "benign", **row} for row in rows)
    return rows_of(*cells, name=source, split=split, role=None)


BAD = [
    ({"text": ""}, "empty text"),
    ({"text": None}, "empty text"),
    ({"text": "x" * 41}, "longer than 40 characters"),
    ({"text": "ring\x07"}, "control or undecodable characters"),
    ({"text": "\u200b\u2060"}, "control or undecodable characters"),  # nobody sees it
    ({"text": "half \ud83d"}, "control or undecodable characters"),
    ({"text": "a", "role": "evil"}, "role is none of harmful, borderline, benign, reasoning"),
    ({"text": "b", "licence": ""}, "blank or unknown licence"),
    ({"text": "c", "licence": "all mine"}, "blank or unknown licence"),
    ({"text": "d", "role": "reasoning"}, "reasoning without a reference answer"),
]
GOOD = [{"text": f"good {i}"} for i in range(3)] + [
    {"text": "sum", "role": "reasoning", "answer": "3"}
]


def test_each_failing_row_is_set_aside_with_its_reason_and_place():
    found = separate(candidates(*GOOD, *(row for row, _ in BAD)), max_characters=40)
    assert [c.row for c in found.passed] == [1, 2, 3, 4]
    assert [(q.row, q.reason) for q in found.quarantined] == [
        (number, reason) for number, (_, reason) in enumerate(BAD, start=5)
    ]


def test_the_first_of_equal_rows_that_is_good_by_itself_stays():
    rows = candidates(
        {"text": "Bake a cake", "licence": "?"}, {"text": "bake a CAKE"}, {"text": "bake  a cake"}
    )
    found = separate(rows, max_characters=40)
    assert [c.row for c in found.passed] == [2]
    assert [(q.row, q.reason) for q in found.quarantined] == [
        (1, "blank or unknown licence"),
        (3, "duplicate id"),
    ]


@pytest.mark.parametrize(
    "again", ["Go on", "go\u200b on", "g\u00ado on", "gо on", "go\r\non", "ｇｏ on", "go on\ufe0f"]
)
def test_a_text_that_is_harmful_and_benign_is_set_aside_twice(again):
    """However it is typed; one has a Cyrillic letter in it."""
    rows = candidates({"text": "go on"}, {"text": again, "role": "harmful"}, {"text": "stay"})
    found = separate(rows, max_characters=40)
    assert [c.row for c in found.passed] == [3]
    assert {q.reason for q in found.quarantined} == {"the same text is harmful and not harmful"}


def test_a_training_row_that_repeats_a_fixed_test_row_is_a_leak_and_no_duplicate():
    rows = [*candidates({"text": "go"}), *candidates({"text": "go"}, source="held", split="test")]
    assert separate(rows, max_characters=40).quarantined == []


def test_too_large_a_share_stops_and_names_rows_and_remedies():
    found = separate(candidates(*GOOD, {"text": ""}), max_characters=40)
    refuse_too_many(found, max_share=0.2)
    with pytest.raises(DataError) as error:
        refuse_too_many(found, max_share=0.19)
    assert "1 of 5 rows (20.0%)" in str(error.value)
    assert "empty text (source 'mine' row 5); fill the text" in str(error.value)


def test_a_source_without_a_good_row_stops():
    rows = [*candidates(*GOOD * 1), *candidates({"text": "a", "licence": "?"}, source="other")]
    with pytest.raises(DataError, match="source 'other': no row is left of 1:\n  blank or unknown"):
        refuse_too_many(separate(rows, max_characters=40), max_share=1)
    with pytest.raises(DataError, match="source 'mine': no row is left of 2"):
        refuse_too_many(
            separate(candidates({"text": ""}, {"text": ""}), max_characters=40), max_share=1
        )


def failures(rows, *, min_rows=None, min_share=0.01, automatic=True) -> str:
    checks = checks_of_table(40, min_rows=min_rows or {}, min_share=min_share)
    frame = table_frame(rows, [automatic] * len(rows), 8)
    outcome = validation.validate(frame, checks, name="prompts")
    with pytest.raises(DataError) as error:
        require(frame, outcome, checks)
    return str(error.value)


def placed(*rows):
    """Candidates with a topic, each in the split it names."""
    return [
        c
        for i, row in enumerate(rows, start=1)
        for c in candidates({"topic": "t", **row}, source=f"s{i}", split=row["split"])
    ]


def test_a_table_without_enough_of_a_role_says_which_and_where():
    message = failures(
        placed({"text": "one", "split": "train"}, {"text": "two", "split": "train"}),
        min_rows={Role.BENIGN: 2, Role.BORDERLINE: 1},
    )
    assert "fail 3 of" in message
    assert "fewer than 2 benign rows in validation (0 found); add benign rows" in message
    assert "fewer than 1 borderline rows in test (0 found)" in message


def test_a_role_that_vanishes_among_others_is_named():
    rows = placed(
        *({"text": f"n {i}", "split": "train", "topic": str(i)} for i in range(9)),
        {"text": "bad", "role": "harmful", "split": "train"},
        {"text": "bad two", "role": "harmful", "split": "validation", "topic": "v"},
        {"text": "bad three", "role": "harmful", "split": "test", "topic": "w"},
    )
    message = failures(rows, min_rows={Role.HARMFUL: 1}, min_share=0.2)
    assert "fewer than 20.0% of the training rows are harmful; set `limit`" in message


def test_overlap_repetition_and_straddling_topics_are_named_with_their_rows():
    message = failures(
        placed(
            {"text": "name five rivers here", "split": "train"},
            {"text": "name five rivers here", "split": "test"},
        )
    )
    assert "training or validation rows that repeat test rows (source 's1' row 1)" in message
    assert "ids are not unique (source 's1' row 1; source 's2' row 1)" in message
    assert "topics that straddle splits (source 's1' row 1; source 's2' row 1)" in message


def test_rows_are_named_briefly():
    assert name_rows([*(("a", row) for row in range(1, 8)), ("b", 3)]) == (
        "source 'a' rows 1, 2, 3, 4, 5 and 2 more; source 'b' row 3"
    )


def test_an_expectation_that_cannot_run_is_never_a_pass():
    checks = checks_of_rows(40)
    frame = row_frame(candidates(*GOOD)).drop(columns="licence")
    with pytest.raises(StageError, match="ran 5 of 6 expectations of 'rows'"):
        validation.validate(frame, checks, name="rows")


def test_a_lost_expectation_is_noticed():
    checks = checks_of_rows(40)
    with pytest.raises(StageError, match="ran 6 of 7 expectations"):
        # The same expectation twice is one to Great Expectations.
        validation.validate(row_frame(candidates(*GOOD)), [*checks, checks[0]], name="rows")


def test_every_check_is_found_again_in_its_result():
    checks = checks_of_rows(40)
    frame = row_frame(candidates(*GOOD, *(row for row, _ in BAD)))
    faults = find_faults(validation.validate(frame, checks, name="rows"), checks)
    assert {position: check.reason for position, check in faults.items()} == {
        number: reason for number, (_, reason) in enumerate(BAD, start=4)
    }
