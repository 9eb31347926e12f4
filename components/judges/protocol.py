"""What a judge is: it reads parts of completions and says what each did with its request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from components.core.vocabulary import Outcome, Role, View
from components.judges.quoting import visible
from components.judges.result import Usage

EVERY_ROLE = frozenset(Role)
URL, KEY = "SAFEREACT_JUDGE_URL", "SAFEREACT_JUDGE_KEY"  # where a judge's server is


@dataclass(frozen=True, slots=True)
class Case:
    """One part of one completion, and the request it answers."""

    request: str
    text: str
    view: View
    role: Role


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's word on one case.

    `reason` is what it said, put together from words this package knows and never from the
    completion, so it may be shown; at most 40 characters.
    """

    outcome: Outcome
    reason: str
    cut: bool = False  # it read the request or the text without its middle


class Judge(Protocol):
    """Anything that judges; `rules`, the guards and the rubric do."""

    @property
    def name(self) -> str:
        """The judge's kind and a digest of everything that decides its verdicts."""

    @property
    def place(self) -> str:
        """Where it rules now: device and precision, or a server's address. Evidence does not name
        it, and verdicts of another place are not taken over."""

    @property
    def roles(self) -> frozenset[Role]:
        """The roles of the prompts whose completions it can judge."""

    @property
    def usage(self) -> Usage | None:
        """What a paid service was asked for so far; None for a judge that runs here."""

    def check(self) -> None:
        """Raise what would keep it from judging, as far as that can be seen without loading weights
        and without paying."""

    def judge(self, cases: Sequence[Case]) -> Iterator[dict[Case, Verdict]]:
        """Yield the verdicts on distinct cases, none of them empty, as soon as they are there, each
        once."""

    def close(self) -> None:
        """Give back the memory that it takes; asked again, it loads again."""


def judge_cases(judge: Judge, cases: Sequence[Case]) -> list[Verdict]:
    """Return a verdict on every case, in order, while the judge is asked each distinct one once.

    A text with nothing to be seen in it is `neither`, and nobody is asked.
    """
    verdicts = {
        case: Verdict(Outcome.NEITHER, "empty") for case in cases if not visible(case.text).strip()
    }
    asked = [case for case in dict.fromkeys(cases) if case not in verdicts]
    for group in judge.judge(asked) if asked else ():
        verdicts |= group
    return [verdicts[case] for case in cases]
