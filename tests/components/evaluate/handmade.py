"""Rows written by hand."""

from __future__ import annotations

from dataclasses import replace

from components.core.vocabulary import Arm, Form, Role
from components.evaluate.rows import Row


def row(number, answer, thought=None, *, arm=Arm.BASE, role=Role.HARMFUL, **more) -> Row:
    """Return the row of a prompt whose answer, and thought, if any, had these outcomes."""
    plain = Row(
        prompt_id=str(number),
        suite=role.value,
        arm=arm,
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
        cut=False,
        correct=None,
        correct_strict=None,
    )
    return replace(plain, **more)
