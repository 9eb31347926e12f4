"""What a grader is: it says whether an answer is the reference answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from components.core.extensions import Extensions


@dataclass(frozen=True, slots=True)
class Grade:
    """Whether an answer is right, read in two ways."""

    flexible: bool  # the answer ends on the reference answer
    strict: bool  # the answer states the reference answer in a form that was asked for


Grader = Callable[[str, str], Grade]  # of an answer without its thought, and the reference answer
GRADERS: Extensions[Grader] = Extensions("graders")
