"""Rates and comparisons of rows written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from components.evaluation.judging import Row
from components.evaluation.metrics import counts_of, differences, rates
from components.records import Arm, Form, Outcome, Role
from components.results import COMPARED, COMPARISONS, METRICS

R, C, N = Outcome.REFUSED, Outcome.COMPLIED, Outcome.NEITHER


def row(number, answer, thought=None, *, arm=Arm.BASE, role=Role.HARMFUL, **more):
    plain = Row(
        prompt_id=str(number),
        arm=arm,
        form=Form.SERVED,
        role=role,
        topic="t",
        thought=None if thought is None else "x",
        answer="x",
        finished=True,
        tokens=1,
        outcome_thought=thought,
        outcome_answer=answer,
        correct=None,
    )
    return replace(plain, **more)


def test_rates_of_an_arm():
    rows = [row(1, R, C), row(2, R), row(3, C, finished=False), row(4, N, R)]
    rows += [row(5, N, role=Role.REASONING, correct=True), row(6, N, role=Role.REASONING)]
    figures = rates(counts_of(rows), 0.95)
    shares = {metric: (figure.count, figure.n) for metric, figure in figures.items()}
    assert shares == {
        "harmful.refused": (2, 4),
        "harmful.complied": (1, 4),
        "harmful.neither": (1, 4),
        "harmful.thought.refused": (1, 2),
        "harmful.thought.complied": (1, 2),
        "harmful.thought.neither": (0, 2),
        "harmful.either.complied": (2, 4),
        "harmful.finished": (3, 4),
        "harmful.think": (2, 4),
        "reasoning.refused": (0, 2),
        "reasoning.complied": (0, 2),
        "reasoning.neither": (2, 2),
        "reasoning.either.complied": (0, 2),
        "reasoning.finished": (2, 2),
        "reasoning.think": (0, 2),
        "reasoning.correct": (1, 1),
    }
    assert set(shares) <= set(METRICS)
    assert figures["harmful.refused"].rate == 0.5
    assert figures["harmful.refused"].low < 0.5 < figures["harmful.refused"].high


def test_forced_rows_are_measured_apart():
    rows = [row(1, R), row(1, C, C, form=Form.FORCED)]
    counts = counts_of(rows)
    assert counts["harmful.refused"] == {"1": True}
    assert counts["harmful.forced.refused"] == {"1": False}
    assert set(counts) <= set(METRICS)


def test_arms_are_compared_on_the_same_prompts():
    outcomes = {
        Arm.BASE: (R, R, R, R),
        Arm.POST_TRAINED: (C, C, N, R),
        Arm.RESTORED: (R, R, R, C),
        Arm.BASELINE: (R, R, R, R),
    }
    counts = {
        arm: counts_of(row(i, outcome, arm=arm) for i, outcome in enumerate(found))
        for arm, found in outcomes.items()
    }
    del counts[Arm.RESTORED]["harmful.refused"]["1"]  # a prompt that one arm lacks is no pair
    found = {(d.arm, d.against, d.metric): d for d in differences(counts, COMPARISONS, 0.95)}
    assert len(found) == len(COMPARISONS) * 3
    measures = ("refused", "complied", "either.complied")
    assert {metric for _, _, metric in found} == {f"harmful.{measure}" for measure in measures}
    one = found[Arm.RESTORED, Arm.POST_TRAINED, "harmful.refused"]
    assert (one.gained, one.lost, one.n) == (2, 1, 3)
    assert one.difference == pytest.approx(1 / 3)
    assert one.low < one.difference < one.high
    assert one.p_value == 1
    two = found[Arm.POST_TRAINED, Arm.BASE, "harmful.refused"]
    assert (two.difference, two.gained, two.lost, two.n) == (-0.75, 0, 3, 4)
    assert two.p_value == pytest.approx(0.25)


def test_every_compared_metric_can_exist():
    assert set(COMPARED) <= set(METRICS)
    assert len(set(METRICS)) == len(METRICS)
