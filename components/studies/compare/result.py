"""What the stage `compare` hands on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

from components.core import paths
from components.core.result import RateFigure, Result
from components.core.vocabulary import AnyArm
from components.evaluate.result import CutFigure, Difference
from components.judges.result import Usage


class Comparison(Result):
    """Every arm on the same prompts: rates, and each against the post-trained and the restored
    model."""

    FILE: ClassVar[str] = paths.COMPARISON

    evidence: str  # digest of the evaluation's result, whose arms are compared with
    data: str
    test_prompts: str
    judges: dict[str, str]
    confidence: float
    cut: dict[str, dict[AnyArm, CutFigure]]  # suite -> completions that its judge saw cut
    usage: dict[str, Usage]  # judge -> what a paid service was asked for
    rows: str  # SHA-256 of the file with the other arms' rows
    arms: tuple[str, ...]  # in their order, those of the evaluation first
    method: str  # of the restored arm
    teacher: str  # of the restored arm
    trained_attacks: tuple[str, ...]  # whose wrappings every training saw
    held_out_attacks: tuple[str, ...]  # that no training of any arm saw
    rates: dict[AnyArm, dict[str, RateFigure]]
    differences: tuple[Difference, ...]
    left_out: dict[str, str]  # why an arm has no figures


Spread = Mapping[str, tuple[float, float]]  # metric -> lowest and highest rate of the seeds


class Pooled(NamedTuple):
    """One comparison with the figures of all seeds, and by arm how far the seeds lie apart."""

    comparison: Comparison
    spreads: Mapping[AnyArm, Spread]
