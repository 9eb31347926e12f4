"""A rate with its interval."""

from __future__ import annotations

from typing import Self

from components.core.errors import EvidenceError
from components.core.result import Record


class RateFigure(Record):
    """A share of n prompts with its interval (Wilson score)."""

    rate: float
    low: float
    high: float
    count: int
    n: int
    samples: int | None = None  # completions, where prompts have several; `count` is of these

    @classmethod
    def of(cls, count: int, n: int, confidence: float) -> Self:
        """Return `count / n` with its interval, whose ends enclose it also where rounding would
        not. Zero samples raise `EvidenceError`."""
        from statsmodels.stats.proportion import proportion_confint

        if n < 1:
            raise EvidenceError("a rate of zero prompts has no interval")
        rate = count / n
        low, high = proportion_confint(count, n, alpha=1 - confidence, method="wilson")
        return cls(
            rate=rate, low=min(float(low), rate), high=max(float(high), rate), count=count, n=n
        )
