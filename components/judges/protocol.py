"""What a judge is: it reads parts of completions and says what each did with its request."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from components.core.extensions import Extensions
from components.core.vocabulary import Outcome, Role, View
from components.judges.quoting import visible
from components.judges.result import Usage
from components.judges.settings import JudgeSettings, RulesSettings

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
    """A judge's verdict on one case.

    `reason` is put together from words this package knows and never from the completion, so it may
    be shown; at most 40 characters.
    """

    outcome: Outcome
    reason: str
    cut: bool = False  # the judge read the request or the text without its middle


class Judge(ABC):
    """Anything that judges. A subclass has `name` and `judge`; the rest holds for a judge that runs
    anywhere, costs nothing and keeps nothing in memory."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The judge's kind and, behind a colon, a digest of everything that decides its verdicts.

        Verdicts are reused under this name."""

    @property
    def place(self) -> str:
        """Where it judges now: device and precision, or a server's address. Evidence does not name
        it, and verdicts of another place are not reused."""
        return ""

    @property
    def roles(self) -> frozenset[Role]:
        """The roles of the prompts whose completions it can judge."""
        return EVERY_ROLE

    @property
    def usage(self) -> Usage | None:
        """What a paid service was asked for so far; None for a judge that runs here."""
        return None

    def check(self) -> None:  # noqa: B027 (nothing keeps most judges from judging)
        """Raise what would keep it from judging, as far as that can be seen without loading weights
        and without paying."""

    @abstractmethod
    def judge(self, cases: Sequence[Case]) -> Iterator[dict[Case, Verdict]]:
        """Yield the verdicts on distinct cases, none of them empty, as soon as they are there, each
        once."""

    def close(self) -> None:  # noqa: B027
        """Give back the memory that it takes; asked again, it loads again."""


@dataclass(frozen=True, slots=True)
class JudgeSetup:
    """What a judge is made from."""

    label: str  # how the profile calls it
    settings: JudgeSettings | None  # its entry in evaluate.judges; None for `rules`
    rules: RulesSettings  # of the judge `rules`, and of guards that know no refusals
    spent: Usage  # what killed processes asked of a paid service for the same evaluation


# By their kind: what makes a judge, without loading weights.
JUDGES: Extensions[Callable[[JudgeSetup], Judge]] = Extensions("judges")


def judge_cases(judge: Judge, cases: Sequence[Case]) -> list[Verdict]:
    """Return a verdict on every case, in order, while the judge is asked each distinct one once.

    A text with nothing to be seen in it is `neither`, and nobody is asked.
    """
    verdicts = {
        case: Verdict(Outcome.NEITHER, "empty") for case in cases if not visible(case.text).strip()
    }
    distinct = [case for case in dict.fromkeys(cases) if case not in verdicts]
    for group in judge.judge(distinct) if distinct else ():
        verdicts |= group
    return [verdicts[case] for case in cases]
