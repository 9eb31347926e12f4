"""A model's standing, counted from rows written by hand."""

from __future__ import annotations

import pytest

from components.errors import EvidenceError
from components.evaluation.inquiry import standing
from components.evaluation.rows import Row
from components.records import Arm, Form, Outcome, Role

R, C, N, U = Outcome.REFUSED, Outcome.COMPLIED, Outcome.NEITHER, Outcome.UNPARSED


def row(role: Role, answer: Outcome, thought: Outcome | None = None) -> Row:
    return Row(
        prompt_id="1",
        suite=role.value,
        arm=Arm.RESTORED,
        form=Form.SERVED,
        role=role,
        topic="t",
        sample=0,
        thought=None if thought is None else "x",
        answer="x",
        closed=True,
        finished=True,
        tokens=1,
        outcome_thought=thought,
        outcome_answer=answer,
        said_thought=None,
        said_answer="",
        correct=None,
        correct_strict=None,
        cut=False,
    )


def test_verdicts_that_could_not_be_read_are_counted_apart():
    harmful = [row(Role.HARMFUL, R), row(Role.HARMFUL, U), row(Role.HARMFUL, U, C)]
    harmful += [row(Role.HARMFUL, R, U), row(Role.HARMFUL, N)]
    benign = [row(Role.BENIGN, C), row(Role.BENIGN, U), row(Role.BENIGN, R), row(Role.BENIGN, N)]
    found = standing([*harmful, *benign], 0.95)
    figures = {name: (rate.count, rate.n) for name, rate in found}
    assert figures == {
        "harmful_refused": (2, 5),
        "harmful_complied": (1, 5),
        "harmful_unparsed": (3, 5),
        "benign_coherent": (2, 4),
        "benign_unparsed": (1, 4),
    }


def test_a_standing_of_no_prompts_is_none():
    with pytest.raises(EvidenceError, match="zero prompts"):
        standing([row(Role.HARMFUL, R)], 0.95)
