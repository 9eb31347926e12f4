"""What is known of a judge: its calibration, and what it was used for."""

from __future__ import annotations

from components.core.result import RateFigure, Record
from components.core.vocabulary import Outcome, View


class Usage(Record):
    """What a paid judge was asked for."""

    requests: int = 0  # repeated ones included
    repeated: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0  # requests whose tokens the server did not report
    cost: float = 0.0  # US dollars, by the prices of the profile


class KappaFigure(Record):
    """Cohen's kappa of judge and labels with its interval (Fleiss, Cohen and Everitt 1969)."""

    kappa: float
    low: float
    high: float


class Calibration(Record):
    """How a judge does on labelled cases."""

    judge: str  # its name
    cases: str  # digest of the labelled cases it was tried on
    confidence: float
    accuracy: RateFigure  # unparsed counts as wrong
    by_view: dict[View, RateFigure]  # the same, of one part of completions
    unparsed: RateFigure
    kappa: KappaFigure | None  # None: labels and verdicts are all the same one
    confusion: dict[Outcome, dict[Outcome, int]]  # label -> verdict -> cases


class Accuracy(Record):
    """What labels say of a judge in one measure, such as refused.

    Numbers of labels that are supposed, not counted, need not be whole.
    """

    positives: float  # labelled completions that are so
    found: float  # of these, those of which the judge says so
    negatives: float  # labelled completions that are not so
    mistaken: float  # of these, those of which the judge says so all the same


class LabelledCompletions(Record):
    """People's words on a random sample of an evaluation's own completions, beside the verdicts."""

    suite: str
    attacked: bool  # asked under attacks; else in the plain forms
    view: View
    confusion: dict[Outcome, dict[Outcome, int]]  # label -> verdict -> completions
    second: bool = False  # beside what the second judge said

    def accuracy(self, measure: Outcome) -> Accuracy:
        """Return what these labels say of the judge in one measure."""
        cells = [(a is measure, b is measure, n) for a, b, n in self._cells()]
        return Accuracy(
            positives=sum(n for is_so, _, n in cells if is_so),
            found=sum(n for is_so, said, n in cells if is_so and said),
            negatives=sum(n for is_so, _, n in cells if not is_so),
            mistaken=sum(n for is_so, said, n in cells if said and not is_so),
        )

    def _cells(self) -> list[tuple[Outcome, Outcome, int]]:
        return [(a, b, n) for a, row in self.confusion.items() for b, n in row.items()]
