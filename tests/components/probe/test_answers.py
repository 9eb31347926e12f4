"""Which part of an answer is judged, and rates with their intervals."""

from __future__ import annotations

import math

import pytest

from components.core.errors import DataError
from components.core.vocabulary import Completion, Outcome, Prompt, Role, Split
from components.probe.answers import Answer, answer, outcomes, rate


def written(thought: str | None, text: str, finished: bool) -> Answer:
    row = Prompt("0", "x", Role.BENIGN, "topic", "test", "MIT", Split.TRAIN)
    return Answer(row, [1], [2, 3], Completion("0", thought, text, finished, tokens=2))


@pytest.mark.parametrize(
    ("thought", "text", "finished", "expected"),
    [
        (None, "sure", True, "sure"),
        ("first this", "sure", True, "sure"),
        ("first this", "", False, "first this"),  # the limit cut the thought off
        ("first this", "", True, ""),  # it ended without an answer
        (None, "", True, ""),
    ],
)
def test_judged_text(thought, text, finished, expected):
    assert written(thought, text, finished).judged == expected


def test_outcomes_are_those_of_the_judged_texts():
    answers = {Role.BENIGN: [written("no", "yes", True), written("no", "", False)]}
    judge = {"yes": Outcome.COMPLIED, "no": Outcome.REFUSED}.__getitem__
    assert outcomes(answers, judge) == {Role.BENIGN: [Outcome.COMPLIED, Outcome.REFUSED]}


def test_answers_come_in_the_rows_order(random_model, random_prompts):
    model, tokenizer = random_model
    rows = random_prompts.rows(role=Role.HARMFUL)[:5]
    found = answer(model, tokenizer, rows, max_new_tokens=4, batch=2, label="asking")
    assert [one.row for one in found] == rows
    alone = answer(model, tokenizer, rows[3:4], max_new_tokens=4, batch=1, label="asking")
    assert alone == found[3:4]
    assert 1 <= found[3].completion.tokens <= 4


def test_rate_by_hand():
    # Wilson: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)
    z = 1.959963984540054
    found = rate(8, 10)
    middle, width = 0.8 + z**2 / 20, z * math.sqrt(0.016 + z**2 / 400)
    assert (found.rate, found.count, found.n) == (0.8, 8, 10)
    assert found.low == pytest.approx((middle - width) / (1 + z**2 / 10))
    assert found.high == pytest.approx((middle + width) / (1 + z**2 / 10))
    assert rate(0, 10).low == 0 and rate(10, 10).high == 1


def test_a_rate_of_nothing_is_an_error():
    with pytest.raises(DataError, match="zero prompts"):
        rate(0, 0)
