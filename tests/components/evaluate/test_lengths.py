"""Lengths against another arm, on rows written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from components.core.vocabulary import Arm, Form
from components.evaluate.rates import length_shifts
from tests.components.evaluate.test_rates import R, row


def rows(arm, *tokens, form=Form.SERVED):
    return [replace(row(i, R, arm=arm), tokens=n, form=form) for i, n in enumerate(tokens)]


def shifts(**arms):
    found = {Arm(name.replace("_", "-")): own for name, own in arms.items()}
    return length_shifts(found, Arm.POST_TRAINED, 0.95)


def test_the_shift_is_the_mean_of_the_prompts_differences():
    (shift,) = shifts(
        post_trained=rows(Arm.POST_TRAINED, 10, 20, 30, 40),
        restored=rows(Arm.RESTORED, 5, 21, 20, 30),
    )
    assert (shift.arm, shift.against, shift.suite) == ("restored", "post-trained", "harmful")
    assert (shift.mean, shift.difference, shift.n) == (19, -6, 4)
    assert shift.low < -6 < shift.high


def test_samples_of_a_prompt_count_as_their_mean_and_foreign_prompts_not_at_all():
    sampled = [
        replace(r, sample=k, tokens=r.tokens + k) for r in rows(Arm.RESTORED, 4, 6) for k in (0, 2)
    ]
    (shift,) = shifts(post_trained=rows(Arm.POST_TRAINED, 1, 1, 50), restored=sampled)
    assert (shift.mean, shift.difference, shift.n) == (6, pytest.approx(5), 2)


def test_forms_are_told_apart_and_an_arm_without_pairs_has_no_shift():
    found = shifts(
        post_trained=rows(Arm.POST_TRAINED, 1, 2),
        restored=rows(Arm.RESTORED, 1, 2) + rows(Arm.RESTORED, 9, 9, form=Form.FORCED_THOUGHT),
    )
    assert [(shift.form, shift.low, shift.high) for shift in found] == [(Form.SERVED, 0, 0)]
