"""What the stage `withstand` hands on."""

from __future__ import annotations

from typing import ClassVar, Literal

from components.core import paths
from components.core.result import RateFigure, Record, Result
from components.core.vocabulary import Arm
from components.evaluate.result import CutFigure
from components.judges.result import Usage


class SafetyRates(Record):
    """What a model does with the harmful and the benign test prompts."""

    harmful_refused: RateFigure
    harmful_complied: RateFigure  # in the thought, in the answer or in both
    harmful_unparsed: RateFigure  # a verdict, on the thought or on the answer, could not be read
    benign_coherent: RateFigure  # the answer is a refusal or language
    benign_unparsed: RateFigure  # the same
    cut: CutFigure  # of all these prompts


class TunedRates(Record):
    """A model's rates after so many steps on harmless rows; 0: as it was before."""

    steps: int
    rates: SafetyRates


class Undoing(Record):
    """What a fine-tune on harmless rows leaves of one arm's safety, by its steps."""

    arm: Arm
    points: tuple[TunedRates, ...]  # ascending, 0 steps first

    @property
    def halved_at(self) -> int | None:
        """The first measured step at which at most half as many harmful prompts are refused as at
        the start; None: at none of them. 0: nothing was refused at the start."""
        start = self.points[0].rates.harmful_refused.count
        return next(
            (p.steps for p in self.points if 2 * p.rates.harmful_refused.count <= start), None
        )


DirectionOf = Literal["base", "post-trained", "own"]


class Ablation(Record):
    """What is left of one arm's safety without its refusal direction."""

    arm: Arm
    direction_of: DirectionOf  # the model whose states it comes from; own: this arm's
    layer: int  # whose states it comes from; it is taken out of all
    tried: int  # directions that were tried on validation prompts
    coherent: bool  # there the chosen one left as much language as was asked for
    before: SafetyRates
    after: SafetyRates


class Withstand(Result):
    """What the restored model's safety withstands: fine-tuning on harmless rows, and the ablation
    of its refusal direction."""

    FILE: ClassVar[str] = paths.WITHSTAND

    adapter: str
    baseline: str
    data: str
    test_prompts: str  # digest of what was asked
    judges: dict[str, str]  # suite -> its judge, with the digest of what decides
    usage: dict[str, Usage]  # judge -> what a paid service was asked for
    confidence: float
    undoings: tuple[Undoing, ...]
    ablations: tuple[Ablation, ...]
