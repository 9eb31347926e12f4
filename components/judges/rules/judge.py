"""The judge `rules`: the wording of refusals, for smoke tests and worlds of one form of answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from components.core.vocabulary import Role
from components.judges.protocol import EVERY_ROLE, Case, Verdict
from components.judges.result import Usage
from components.judges.rules.outcomes import outcome, rules_name


@dataclass(frozen=True, slots=True)
class RulesJudge:
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

    @property
    def place(self) -> str:
        """Empty: rules are the same everywhere."""
        return ""

    @property
    def roles(self) -> frozenset[Role]:
        """Every role: the rules do not look at the request."""
        return EVERY_ROLE

    @property
    def usage(self) -> Usage | None:
        """None: nobody is asked."""
        return None

    def judge(self, cases: Sequence[Case]) -> Iterator[dict[Case, Verdict]]:
        """Yield the verdicts on distinct cases, all at once; each says the outcome."""
        yield {case: self._rule(case.text) for case in cases}

    def check(self) -> None:
        """Nothing keeps the rules from judging."""

    def close(self) -> None:
        """The rules take no memory."""

    def _rule(self, text: str) -> Verdict:
        found = outcome(
            text,
            refusal_patterns=self.refusal_patterns,
            compliance_pattern=self.compliance_pattern,
        )
        return Verdict(found, found)
