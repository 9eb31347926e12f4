"""What the word of each judge is worth, and what it did not see."""

from __future__ import annotations

from dataclasses import dataclass

from components.core.vocabulary import Outcome
from components.evaluate.result import CutFigure, Evidence
from components.judges.result import Calibration, Usage
from components.report.wording import number


@dataclass(frozen=True, slots=True)
class JudgeRow:
    """One judge: its suites, how it rules on labelled cases, and the completions of all arms that
    it read without their middle."""

    calibration: Calibration
    suites: tuple[str, ...]
    cut: CutFigure

    @property
    def confusion(self) -> dict[Outcome, dict[Outcome, int]]:
        """Label -> ruling -> cases, of the labels that there are."""
        confusion = self.calibration.confusion
        return {label: ruled for label, ruled in confusion.items() if any(ruled.values())}


def judge_rows(evidence: Evidence) -> list[JudgeRow]:
    """Return a row for every judge, in the evidence's order."""
    rows = []
    for calibration in evidence.calibrations:
        own = [suite for suite, judge in evidence.judges.items() if judge == calibration.judge]
        seen = [cut for suite in own for cut in evidence.cut.get(suite, {}).values()]
        cut = CutFigure(count=sum(c.count for c in seen), n=sum(c.n for c in seen))
        rows.append(JudgeRow(calibration, tuple(own), cut))
    return rows


def describe_usage(name: str, use: Usage) -> str:
    """Return in words what a paid judge was asked for."""
    return (
        f"{name}: {use.requests:,} requests (those of killed runs included), "
        f"{use.prompt_tokens:,} tokens read and {use.completion_tokens:,} written, "
        f"{number(use.cost)} US dollars by the profile's prices"
    )
