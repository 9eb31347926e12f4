"""Whether an answer is the reference answer: flexibly, by what it ends on, and strictly, by what it
states.

An answer states its result as `\\boxed{X}`, `the answer is X`, `Answer: X` or, as in GSM8K,
`#### X`; of several, the last counts. Strictly, X must be the reference answer. Flexibly, it is
enough that the content of the last box is, or without a box the last number or the last option's
letter that stands alone, whether or not it was meant as the answer. Strict implies flexible. Only
answers are graded, never thoughts.

Numbers are compared exactly: 1,200 = 1200.0 and 1/2 = 0.5, but 1/3 is not 0.333333. What is not a
plain number is read by latex2sympy and compared by sympy. A sum that was not worked out ("3 + 4")
is no answer, so that echoing the problem scores nothing, and neither is no text.

docs/architecture.md says why math-verify does not grade.
"""

from __future__ import annotations

from components.evaluate.graders import choice, mathematics
from components.evaluate.graders.grade import GRADERS, Grade

__all__ = ["Grade", "choice", "grade", "mathematics"]  # importing the graders registers them


def grade(answer: str, reference: str, grader: str) -> Grade:
    """Return the grade of an answer, without its thought, by the reference answer.

    For `choice` the reference is the letter of the right option. Raises `ConfigError` for an
    unknown grader, `EvidenceError` where the process that compares expressions does not start.
    """
    found = GRADERS.find(grader)(answer, reference)
    return Grade(flexible=found.flexible or found.strict, strict=found.strict)
