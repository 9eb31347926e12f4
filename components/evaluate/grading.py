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
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.evaluate.graders.choice import ends_on_option, states_option
from components.evaluate.graders.mathematics import ends_on_reference, states_reference

if TYPE_CHECKING:
    from components.prepare.settings import GraderKind


@dataclass(frozen=True, slots=True)
class Grade:
    """Whether an answer is right, read in two ways."""

    flexible: bool  # the answer ends on the reference answer
    strict: bool  # the answer states the reference answer in a form that was asked for


def grade(answer: str, reference: str, grader: GraderKind) -> Grade:
    """Return the grade of an answer, without its thought, by the reference answer.

    For `choice` the reference is the letter of the right option. Raises `EvidenceError` where
    expressions cannot be compared at all, since the process for it does not start.
    """
    states, ends_on = _GRADERS[grader]
    strict = states(answer, reference)
    return Grade(flexible=strict or ends_on(answer, reference), strict=strict)


_GRADERS: dict[GraderKind, tuple[Callable[[str, str], bool], Callable[[str, str], bool]]] = {
    "mathematics": (states_reference, ends_on_reference),
    "choice": (states_option, ends_on_option),
}
