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
