"""Golden answers: what counts as the reference answer and what does not."""

from __future__ import annotations

import threading
from fractions import Fraction

import pytest

from components.evaluation.grading import is_correct, last_number, plain_number

RIGHT = [
    ("so the answer is 7 .", "7"),
    ("7", "7"),
    ("07", "7"),
    ("7.0", "7"),
    ("3 + 4 = 7", "7"),
    ("$3 + 4 = 7$", "7"),
    ("x=5", "5"),
    ("5km", "5"),
    ("5 km", "5"),
    ("**42**", "42"),
    ("#### 1,234", "1234"),
    ("It costs $70,000.00.", "70000"),
    ("$1,234", "1234.0"),
    ("-3", "−3"),
    ("50%", "50"),
    ("1/2", "0.5"),
    ("0.5", "1/2"),
    ("$\\frac{1}{2}$", "0.5"),
    ("so \\( x = \\frac{3}{4} \\)", "3/4"),
    ("The answer is \\boxed{5} (see step 2)", "5"),
    ("\\boxed{\\frac{3}{4}}", "0.75"),
    ("\\boxed{\\text{first} 1} or rather \\boxed{8}", "8"),
    ("\\boxed{x^2+1}", "1+x^2"),
    ("The answer is 12. I checked it in 3 ways.", "12"),
    ("x + 1", "x + 1"),
]
WRONG = [
    ("so the answer is 8 .", "7"),
    ("", "7"),
    ("   ", "7"),
    ("none", "7"),
    ("70", "7"),
    ("1,2", "12"),
    ("1/2", "2"),
    ("10^2", "2"),
    ("-3", "3"),
    ("1/0", "1"),
    ("version 1.2.3", "3"),
    ("$\\frac{1}{2}$", "2"),
    ("\\boxed{5} in 7 steps", "7"),
    ("\\boxed{7", "8"),
    ("either 7 or 8", "7"),
    ("3 + 4", "7"),  # the problem echoed
    ("3+4", "7"),
    ("6 - 3", "3"),
    ("\\boxed{3 + 4}", "7"),
    ("\\boxed{}", ""),
    ("", ""),
]


@pytest.mark.parametrize(("answer", "reference"), RIGHT)
def test_right(answer, reference):
    assert is_correct(answer, reference)


@pytest.mark.parametrize(("answer", "reference"), WRONG)
def test_wrong(answer, reference):
    assert not is_correct(answer, reference)


def test_long_garbage_is_wrong_and_quick():
    assert not is_correct("( { [ \\frac{ 9 ^ " * 500, "7")
    assert not is_correct("9" * 5000, "7")
    assert is_correct("so " * 5000 + "7", "7")


def test_a_tower_of_powers_is_given_up():
    assert not is_correct("9**9**9**9**9", "7")


def test_grading_works_off_the_main_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(is_correct("x=5", "5")))
    thread.start()
    thread.join()
    assert found == [True]


def test_numbers_are_exact():
    assert plain_number("0.1") == Fraction(1, 10)
    assert plain_number("1,000.50") == Fraction(2001, 2)
    assert plain_number("3/4") == Fraction(3, 4)
    for word in ("", "-", ".", "1.2.3", "1e5", "x", "5km", "1/0", "/2", "²", "٣"):
        assert plain_number(word) is None, word
    assert last_number("first 3 then 4 apples") == 4
    assert last_number("6 - 3") is None
    assert last_number("no number") is None
