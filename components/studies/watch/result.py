"""What `safereact watch` found of a champion: drift, none, or too little to tell."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from components.core.result import RateFigure, Record, Result
from components.gate.result import Conclusion, RuleOutcome


class Drift(StrEnum):
    """Whether a champion does worse than when it was promoted."""

    FOUND = "drift"
    NONE = "no drift"
    UNKNOWN = "cannot tell"


class Line(Record):
    """One figure as it is now against what it was."""

    metric: str
    at_least: bool  # whether less of it is worse
    now: RateFigure
    then: RateFigure | None  # None: it was not measured before
    paired: bool  # compared prompt by prompt
    conclusion: Conclusion  # PASS: no drift
    why: str


class Watch(Result):
    """A champion's answers beside those that it was promoted on."""

    FILE: ClassVar[str] = "watch.json"

    version: str
    adapter: str  # its digest
    evidence: str  # digest of the promotion's evaluation
    test_prompts: str
    data: str
    policy: str
    judges: dict[str, str]
    engine: str
    margin: float  # as a share
    confidence: float
    rows: str  # SHA-256 of the rows of the test prompts
    rates: dict[str, RateFigure]
    lines: tuple[Line, ...]
    rules: tuple[RuleOutcome, ...]  # of the policy, on rates of the restored model
    notes: tuple[str, ...]  # what is another one than at the promotion, or was not decided on
    unasked: tuple[str, ...] = ()  # suites and forms that the promotion asked, and this did not

    @property
    def drift(self) -> Drift:
        """Drift where a figure is worse by more than the margin; where one is not known to be no
        worse, or was not measured again, or a rule of the policy is not known to hold, nobody can
        tell."""
        found = {line.conclusion for line in self.lines}
        if Conclusion.FAIL in found:
            return Drift.FOUND
        unknown = any(not rule.passed and rule not in self._failed for rule in self.rules)
        undecided = Conclusion.INCONCLUSIVE in found or unknown or self.unasked or not self.lines
        return Drift.UNKNOWN if undecided else Drift.NONE

    @property
    def below_policy(self) -> bool:
        """Whether a figure shows that a rule of the policy no longer holds."""
        return bool(self._failed)

    @property
    def _failed(self) -> list[RuleOutcome]:
        """The rules that a figure misses; one without a figure is unknown."""
        missed = [rule for rule in self.rules if rule.conclusion is Conclusion.FAIL]
        return [rule for rule in missed if rule.figure is not None]

    @property
    def holds(self) -> bool:
        """Whether it is known to be as good as it was, and as the policy asks."""
        return self.drift is Drift.NONE and not self.below_policy

    @property
    def words(self) -> str:
        """What was found, in a line."""
        worse = [line.metric for line in self.lines if line.conclusion is Conclusion.FAIL]
        failed = [rule.rule for rule in self._failed]
        n = min((line.now.n for line in self.lines), default=0)
        parts = [str(self.drift)]
        parts += [f"worse: {', '.join(worse)}"] if worse else []
        parts += [f"below the policy: {', '.join(failed)}"] if failed else []
        parts += [f"not asked again: {', '.join(self.unasked)}"] if self.unasked else []
        return f"{'; '.join(parts)} ({len(self.lines)} figures, n >= {n})"
