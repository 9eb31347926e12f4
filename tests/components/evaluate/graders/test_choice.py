"""Options: what is chosen, what is only named, and what is no choice."""

from __future__ import annotations

import pytest

from components.evaluate.grading import Grade, grade

CHOSEN = [
    "Answer: C \u2705",
    "Answer: C (not B)",
    "Answer: C \u2014 Paris",
    "The answer is C rather than B.",
    "\\boxed{C}",
    "\\boxed{\\text{C}}",
    "\\boxed{\\textbf{(C)}}",
    "\\boxed{(C)}",
    "\\boxed{C) a word}",
    "so the answer is (C)",
    "The correct answer is C.",
    "The answer is **C**, since B is too small.",
    "The answer is C because it rains",
    "Answer: C",
    "**Answer:** (C) a word",
    "Final answer: option C",
    "Answer: C. A patient would say so.",
    "Answer: A\n\nNo. Answer: C",
    "ANSWER: c",
    "the answer is c",
    "Answer: Ｃ",
    "ANSWER: \\(C\\)",
    "ANSWER: [C]",
    "Answer: “C”",
    "Answer: **[C]**",
    "\\boxed{\\text{Option C}}",
    "\\boxed{\\mathrm{C}}",
    "\\fbox{c}",
    "Answer: C\n\nI am sure that the answer is correct.",
    "**Answer: C**\n\nsince \\boxed{\\Delta E > 0}",
]
HINTED = [
    "C is right, vitamin B is not",
    "C, because A and D are wrong.",
    "So the C option",
    "C",
    "(C)",
    "I think it is C",
    "A is out, B is out, C",
    "So C is right. I am sure of it.",
    "C. A longer sentence follows",
    "The answer is not B but C",
    "It must be option C",
    "c",
    "(c).",
    "The correct option is (c).",
    "B? No, C.",
    "The answer is B? No, C.",
    "【C】",
    "'C'",
    "C, and all but D are wrong",
    "正确答案是Ｃ。",
    "C, not A",
    "C. Option B is not right",
    "It is C rather than D",
    "C is correct, although D is tempting.",
    "C, since D would need more water.",
    "(C) because (D) is too small",
    "C - both A and B hold",
    "option c is right",
    "A is right but C is better.",
    "The wrong answer is B. So C.",
    "Ⓒ",
    "E = mc^2, so C",
]
NOT_CHOSEN = [
    "The answer is A or C",
    "Answer: A, C",
    "\\boxed{A, C}",
    "Either A or C",
    "None of A, B, C",
    "Eliminate B and C",
    "I would not choose C",
    "Answer: B) vitamin C",
    "It is hepatitis C",
    "At 30 °C",
    "Written in C++",
    "The C programming language",
    "x^2 + C",
    "",
    "\\boxed{}",
    "\\boxed{B}, not C",
    "\\boxed{CD}",
    "Answer: B",
    "The answer is C-sharp",
    "Vitamins",
    "The answer is C3",
    "It is not C",
    "The answer is not (C)",
    "Answer: C is wrong",
    "B, not option C",
    "It cannot be C",
    "All but C",
    "\\boxed{B} and \\boxed{C}",
    "Carefully, a CT scan",
    "C or D",
    "C? No, B.",
    "The answer is C? No, B.",
    "C is the wrong answer.",
    "The wrong answer is C.",
    "Wrong answer: C",
    "D, since C would need more water.",
    "D is correct, although C is tempting.",
    "C = 5",
    "The answer is C = 2r",
    "C) 3\nD) 5",
    "C) 3, D) 5",
]


@pytest.mark.parametrize("answer", CHOSEN)
def test_an_option_that_is_stated(answer):
    assert grade(answer, "C", "choice") == Grade(flexible=True, strict=True)


@pytest.mark.parametrize("answer", HINTED)
def test_an_option_that_is_only_named_last(answer):
    assert grade(answer, "C", "choice") == Grade(flexible=True, strict=False)


@pytest.mark.parametrize("answer", NOT_CHOSEN)
def test_an_option_that_is_not_chosen(answer):
    assert grade(answer, "C", "choice") == Grade(flexible=False, strict=False)


def test_articles_and_pronouns_are_no_options():
    assert not grade("A patient like this one rests", "A", "choice").flexible
    assert not grade("A 45-year-old rests", "A", "choice").flexible
    assert grade("so A is right", "A", "choice").flexible
    assert grade("\\boxed{A}", "A", "choice").strict
    assert not grade("Answer: A patient rests", "A", "choice").strict
