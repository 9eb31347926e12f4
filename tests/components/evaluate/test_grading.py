"""Texts that break or delay no grader, whichever it is."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from components.evaluate.grading import Grade, grade

HOSTILE = [
    "( { [ \\frac{ 9 ^ " * 500,
    "9" * 5000,
    "\\boxed{" * 5000,
    "\\boxed{" + "{" * 5000 + "7" + "}" * 4999,
    "answer is " * 5000,
    "answer" + " " * 100_000,
    "answer:" + "*" * 100_000 + "8",
    "\ud800\x00\u202e" * 1000,
]


@given(st.text(max_size=60), st.text(max_size=20), st.sampled_from(["mathematics", "choice"]))
@example("\\boxed{\ud800}", "\ud800", "mathematics")
@settings(max_examples=100)
def test_no_text_breaks_the_grader(answer, reference, grader):
    for text in (answer, f"\\boxed{{{answer}}}", f"Answer: {answer}"):
        found = grade(text, reference, grader)
        assert found.flexible or not found.strict
    assert not grade("", reference, grader).flexible


@pytest.mark.parametrize("grader", ["mathematics", "choice"])
@pytest.mark.parametrize("answer", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_answers_are_wrong_and_quick(answer, grader):
    begun = time.process_time()
    assert grade(answer, "7", grader) == Grade(flexible=False, strict=False)
    assert time.process_time() - begun < 5
    assert grade("so " * 5000 + "7", "7", "mathematics").flexible
