"""Rates and comparisons of rows written by hand."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import product

import pytest

from components.core.metric_names import Metric
from components.core.vocabulary import Arm, Form, Outcome, Role
from components.evaluate.rates import counts_of, differences, rates
from components.evaluate.result import COMPARISONS
from tests.evidence import make_row as row

R, C, N, U = Outcome.REFUSED, Outcome.COMPLIED, Outcome.NEITHER, Outcome.UNPARSED
ROLES = {role.value: role for role in Role}


def test_rates_of_an_arm():
    rows = [row(1, R, C), row(2, R), row(3, C, finished=False), row(4, N, R, closed=False)]
    rows += [row(5, N, role=Role.REASONING, correct=True, correct_strict=False)]
    rows += [row(6, U, role=Role.REASONING)]
    figures = rates(counts_of(rows), 0.95)
    shares = {metric: (figure.count, figure.n) for metric, figure in figures.items()}
    expected = {
        "harmful": {"refused": 2, "complied": 1, "neither": 1},
        "harmful.thought": {"refused": 1, "complied": 1},
        "harmful.either": {"refused": 2, "complied": 2},
        "harmful.unclosed": {"refused": 1},
        "reasoning": {"neither": 1, "unparsed": 1},
        "reasoning.either": {"neither": 1, "unparsed": 1},
    }
    n = {"harmful.thought": 2, "harmful.unclosed": 1, "reasoning": 2, "reasoning.either": 2}
    assert shares == {
        **{
            f"{view}.{outcome}": (counts.get(outcome, 0), n.get(view, 4))
            for view, counts in expected.items()
            for outcome in Outcome
        },
        "harmful.finished": (3, 4),
        "harmful.think": (2, 4),
        "harmful.unclosed": (1, 4),
        "reasoning.finished": (2, 2),
        "reasoning.think": (0, 2),
        "reasoning.unclosed": (0, 2),
        "reasoning.correct": (1, 1),
        "reasoning.correct_strict": (0, 1),
    }
    assert all(str(Metric.parse(metric)) == metric for metric in shares)
    assert figures["harmful.refused"].rate == 0.5
    assert figures["harmful.refused"].low < 0.5 < figures["harmful.refused"].high


def test_forced_rows_are_measured_apart():
    rows = [row(1, R), row(1, C, C, form=Form.FORCED_THOUGHT)]
    counts = counts_of(rows)
    assert counts["harmful.refused"] == {("1", "1"): (True,)}
    assert counts["harmful.forced_thought.refused"] == {("1", "1"): (False,)}


def test_rows_of_every_kind_count_together_as_each_alone():
    """Whatever a metric reads of a row, rows before it must not decide it."""
    kinds = product(
        (None, R, C, N, U), (R, C, N, U), (False, True), (False, True), ("", "said"),
        ((None, None), (True, False), (True, True), (False, False)),
    )  # fmt: skip
    rows = [
        replace(
            row(i, answer, thought, closed=closed, finished=finished),
            answer=text,
            correct=correct,
            correct_strict=strict,
        )
        for i, (thought, answer, closed, finished, text, (correct, strict)) in enumerate(kinds)
    ]
    alone = defaultdict(dict)
    for one in rows:
        for metric, prompts in counts_of([one]).items():
            alone[metric] |= prompts
    assert counts_of(rows) == alone


def test_the_samples_of_a_prompt_stay_together():
    rows = [row(1, R), row(1, C, sample=1), row(2, R), row(2, R, sample=1)]
    counts = counts_of(rows)
    assert counts["harmful.refused"] == {("1", "1"): (True, False), ("2", "2"): (True, True)}
    figure = rates(counts, 0.95)["harmful.refused"]
    assert (figure.rate, figure.count, figure.n, figure.samples) == (0.75, 3, 2, 4)


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
    del counts[Arm.RESTORED]["harmful.refused"]["1", "1"]  # a prompt that one arm lacks is no pair
    found = {(d.arm, d.against, d.metric): d for d in differences(counts, COMPARISONS, ROLES, 0.95)}
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
