"""Expressions that are compared in a process of their own, which is ended and bounded."""

from __future__ import annotations

import threading

import psutil
import pytest

from components.core.bounded_process import BoundedProcess
from components.core.errors import EvidenceError
from components.evaluate.graders import expressions
from components.evaluate.grading import Grade, grade

BOMBS = [
    "9**9**9**9**9",
    "\\boxed{9^{9^{9^{9}}}}",
    "The answer is 9^9^9^9",
    "\\boxed{9^{99999999}}",
    "10^(99999999)",
    "$99999999!$",
    "\\boxed{((((9!)!)!)!)}",
    "\\boxed{\\binom{99999999}{49999999}}",
    "\\boxed{\\sum_{n=1}^{99999999} n^n}",
    "\\boxed{(x+1)^{99999}}",
    "\\boxed{(x+1)^{9999}}",
    "\\boxed{\\sum_{k=1}^{9999}\\frac{1}{k}}",
    "\\boxed{(10^{9})!}",
    "\\boxed{" + "+".join("1" * 700) + "}",
    "\\boxed{e^{e^{e^{79}}}}",
    "\\boxed{\\prod_{k=1}^{9000} k^{9000}}",
]


@pytest.mark.parametrize("answer", BOMBS)
def test_expressions_that_take_for_ever_are_given_up_in_any_thread(answer):
    found = []
    thread = threading.Thread(
        target=lambda: found.append(grade(answer, "7", "mathematics")), daemon=True
    )
    thread.start()
    thread.join(timeout=90)
    assert found == [Grade(flexible=False, strict=False)]


def test_the_process_that_compares_is_started_anew_after_it_was_ended():
    assert expressions.equal("x+1", "1+x")
    child = expressions.PROCESS._child
    assert child is not None
    child.kill()
    child.wait()
    assert expressions.equal("x+2", "2+x")


def test_a_process_that_does_not_start_is_an_error_and_no_verdict(monkeypatch):
    process = BoundedProcess("nothing_that_is_there", 3)
    monkeypatch.setattr(expressions, "PROCESS", process)
    with pytest.raises(EvidenceError, match="did not start"):
        expressions.equal("x+5", "y")


@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="no limits to read")
def test_the_memory_of_a_comparison_is_bounded():
    expressions.equal("x+4", "y")
    child = expressions.PROCESS._child
    assert child is not None
    most, _ = psutil.Process(child.pid).rlimit(psutil.RLIMIT_AS)
    assert 2 << 30 <= most <= 3 << 30


def test_grading_works_off_the_main_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(grade("x=5", "5", "mathematics")))
    thread.start()
    thread.join()
    assert found == [Grade(flexible=True, strict=False)]
