"""What the stage `gate` hands on: the decision, rule by rule."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from enum import StrEnum
from typing import ClassVar, Literal, Self

from pydantic import AliasChoices, Field, model_validator

from components.core import paths
from components.core.identity import signatory
from components.core.metric_names import Metric
from components.core.result import RateFigure, Record, Result
from components.core.section import Text
from components.core.storage import digest_bytes
from components.judges.result import Accuracy, LabelledCompletions
from components.lm.references import PromptContract


class Conclusion(StrEnum):
    """What the figures say about one rule."""

    PASS = "pass"  # they show that it holds
    FAIL = "fail"  # they show that it does not, or there are none: more prompts would not help
    INCONCLUSIVE = "inconclusive"  # they show neither; more prompts would


class GateOutcome(StrEnum):
    """The gate's decision on an adapter."""

    ACCEPTED = "accepted"  # every rule holds, or is overridden
    REJECTED = "rejected"  # a rule failed
    INCONCLUSIVE = "inconclusive"  # none failed, but not all of them pass


UndoneBy = Literal["harmless rows", "ablation"]  # a fine-tune on these, or without its direction
UNTESTED = "not tested under attacks"
UNLABELLED = "judges not measured on this profile's completions"
PARTLY_LABELLED = "judges not measured on all of this profile's suites"
LONGEST = timedelta(days=366)  # from an override's signature to its last day


class Override(Record):
    """A person's signature that one adapter may go on although one rule does not hold.

    It is about what one evaluation showed under one policy; another one ends it. It has a name, a
    reason and an end at most `LONGEST` away, however the record was written.
    """

    rule: str
    adapter: str
    evidence: str  # digest of metrics.json
    policy: str  # digest of the rules
    who: Text
    why: Text
    signed: date  # the day, in UTC, of the signature
    until: date  # the last day, in UTC, on which the decision may be used
    user: str = ""  # whose credentials MLflow accepted then; empty: nobody verified who it was

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if not timedelta(0) <= self.until - self.signed <= LONGEST:
            raise ValueError(
                f"until {self.until} must be a day from the signature, {self.signed}, to "
                f"{LONGEST.days} days later; sign with `safereact override`"
            )
        return self

    @property
    def signer(self) -> str:
        """Who signed it, and whether somebody verified that."""
        return signatory(self.who, self.user)

    def __str__(self) -> str:
        return f"overridden by {self.signer} until {self.until}: {self.why}"


class RuleOutcome(Record):
    """One rule of the policy, decided."""

    rule: str
    metric: str
    arm: str
    against: str | None
    figure: float | None  # point value, corrected where there are labels; None: no evidence
    bound: float | None  # the interval's end that decides
    threshold: float | None  # None: a check of the evidence, not a figure
    n: int
    conclusion: Conclusion
    p_value: float | None = None  # one-sided, of the figure being at the threshold or beyond it
    needed: int | None = None  # prompts that would decide an inconclusive rule
    warns: bool = False  # it passed, and people should read its words all the same
    impossible: bool = False  # no figure can be had: the champion is of another model
    override: Override | None = None
    observed: float | None = None  # the figure as judged, where it is corrected for its judge
    accuracy: Accuracy | None = None  # the labels that it is corrected by
    why: str

    @property
    def uncorrected(self) -> bool:
        """Whether it was decided on the verdicts of a judge that no label measures."""
        judged = self.threshold is not None and Metric.parse(self.metric).of_verdicts
        return judged and self.figure is not None and self.accuracy is None

    @property
    def passed(self) -> bool:
        """Whether the figures show that the rule holds."""
        return self.conclusion is Conclusion.PASS

    @property
    def stands(self) -> bool:
        """Whether the rule is in the adapter's way no longer: it passed or is overridden."""
        return self.passed or self.override is not None


def check_outcome(rule: str, passed: bool, why: str, *, warns: bool = False) -> RuleOutcome:
    """Return the outcome of a check of the evidence, which no threshold decides."""
    return RuleOutcome(
        rule=rule,
        metric="evidence",
        arm="restored",
        against=None,
        figure=None,
        bound=None,
        threshold=None,
        n=0,
        conclusion=Conclusion.PASS if passed else Conclusion.FAIL,
        warns=warns,
        why=why,
    )


def unlabelled(rules: Iterable[RuleOutcome]) -> tuple[str, ...]:
    """Return in words that rules rest on judges whose errors nobody measured; empty where none
    does."""
    listed = list(rules)
    if not any(rule.uncorrected for rule in listed):
        return ()
    return (PARTLY_LABELLED if any(rule.accuracy for rule in listed) else UNLABELLED,)


class Left(Record):
    """What is left of the restored model's refusals when somebody undoes its safety."""

    after: UndoneBy
    steps: int | None  # of the fine-tune; None: there is none
    refused: RateFigure  # of harmful test prompts
    unparsed: RateFigure  # of these, those of which a verdict could not be read


class Withstood(Record):
    """What the study `withstand` found of one adapter, as far as a policy may bound it."""

    adapter: str
    data: str  # digest of the profile's own prompts
    judge: str  # of the harmful prompts
    confidence: float
    left: tuple[Left, ...]
    how: str = ""  # how it was fine-tuned on harmless rows, in words


class Decision(Result):
    """Whether one adapter is accepted, with every rule's figure."""

    FILE: ClassVar[str] = paths.DECISION

    outcome: GateOutcome = Field(validation_alias=AliasChoices("outcome", "word"))
    adapter: str
    data: str
    evidence: str  # digest of metrics.json
    policy: str  # digest of the policy's rules
    contract: PromptContract
    judges: dict[str, str]  # suite -> name of its judge
    # suite -> what decides its judge's verdicts; `rules`: none
    judge_settings: dict[str, str]
    # The same of those that judged once more.
    second_judges: dict[str, str] = Field(default_factory=dict)
    second_judge_settings: dict[str, str] = Field(default_factory=dict)
    champion: str | None  # digest of the one it was compared with, or NO_CHAMPION
    # Under which the restored model answered harmful prompts.
    attacks: tuple[str, ...] = ()
    # What people said of the completions.
    labelled: tuple[LabelledCompletions, ...] = ()
    withstood: Withstood | None = None  # None: the policy asks for none, or there is none
    rules: tuple[RuleOutcome, ...]
    reasons: tuple[str, ...]  # why not, one line a rule that does not stand; empty when accepted
    refused: tuple[str, ...]  # overrides that do not count, and why

    @property
    def accepted(self) -> bool:
        """Whether the adapter may be registered."""
        return self.outcome is GateOutcome.ACCEPTED

    @property
    def labels(self) -> str:
        """SHA-256 of what people said of the completions; empty where they said nothing."""
        if not self.labelled:
            return ""
        said = self.model_dump_json(include={"labelled"}, exclude_defaults=True)
        return digest_bytes(said.encode())

    @property
    def unknown(self) -> tuple[str, ...]:
        """What the outcome says nothing about, in words."""
        untested = () if self.attacks else (UNTESTED,)
        return (*untested, *unlabelled(self.rules))

    @property
    def words(self) -> str:
        """The outcome with what it says nothing about: `accepted, not tested under attacks`."""
        return ", ".join((str(self.outcome), *self.unknown))
