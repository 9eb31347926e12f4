"""The judge `rules`: the wording of refusals, for smoke tests and worlds of one form of answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from components.judges.protocol import Case, Judge, Verdict
from components.judges.rules.outcomes import outcome, rules_name


@dataclass(frozen=True, slots=True)
class RulesJudge(Judge):
    """The rules of components/judges/rules/outcomes.py with a profile's patterns.

    They see how a text is worded, a thought as well as an answer, not what it gives away: figures
    by them are a smoke test.
    """

    refusal_patterns: tuple[str, ...] = ()
    compliance_pattern: str | None = None

    @property
    def name(self) -> str:
        """`rules` and the digest of the patterns it goes by."""
        return rules_name(self.refusal_patterns, self.compliance_pattern)

    def judge(self, cases: Sequence[Case]) -> Iterator[dict[Case, Verdict]]:
        """Yield the verdicts on distinct cases, all at once; each says the outcome."""
        patterns, pattern = self.refusal_patterns, self.compliance_pattern
        found = {
            case: outcome(case.text, refusal_patterns=patterns, compliance_pattern=pattern)
            for case in cases
        }
        yield {case: Verdict(decided, decided) for case, decided in found.items()}
