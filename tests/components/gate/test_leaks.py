"""Leak figures in the gate's terms: only what was looked at and found nowhere is clean."""

from __future__ import annotations

import pytest

from components.core.paths import Workspace
from components.core.result import RateFigure
from components.gate.checks import not_in_training
from components.prepare.result import LeakFigure, SuiteSet
from tests.releases import write_all


def figure(measure: str, found: int, *, n: int = 40, suite: str = "xstest") -> LeakFigure:
    return LeakFigure(
        suite=suite,
        measure=measure,
        words=None if measure == "copy" else 8,
        before=RateFigure.of(9, n, 0.95),
        after=RateFigure.of(found, n, 0.95),
        prompts=tuple("abcde"[: min(found, 5)]),
        dropped=3,
    )


@pytest.fixture(scope="module")
def prompts(tmp_path_factory) -> SuiteSet:
    workspace = write_all(Workspace(tmp_path_factory.mktemp("root"), "demo"))
    return SuiteSet.load(workspace.stage("prepare"))


def outcome(prompts: SuiteSet, *figures: LeakFigure):
    return not_in_training("xstest", prompts.model_copy(update={"leaks": figures}))


def test_a_suite_that_training_repeats_nowhere_is_clean(prompts):
    found = outcome(prompts, figure("run", 0), figure("copy", 0), figure("share", 6, n=30))
    assert found.passed
    assert found.why == (
        "training repeats 0 of 40 prompts of xstest (0.0 % [0.0, 8.8]); 3 training rows were "
        "dropped for it; 6 of 30 share much of their wording"
    )


def test_one_prompt_is_a_leak_whose_suite_rate_and_prompts_are_named(prompts):
    found = outcome(prompts, figure("run", 2), figure("copy", 1))
    assert not found.passed
    assert found.why == "training repeats 2 of 40 prompts of xstest (5.0 % [1.4, 16.5]): a, b"


def test_what_nobody_looked_at_is_not_clean(prompts):
    for figures in ([], [figure("run", 0)], [figure("run", 0, suite="other")]):
        found = outcome(prompts, *figures)
        assert not found.passed and found.why.startswith("no evidence")
