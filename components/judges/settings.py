"""The judges as settings name them, and the rules that read completions."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    JsonValue,
    StringConstraints,
    Tag,
    field_validator,
)

from components.core.extensions import check_name
from components.core.section import Manner, Positive, Section, Text, compiles


class RulesSettings(Section):
    """How the rules tell refusals, answers and neither apart (components/judges/rules)."""

    refusal_patterns: tuple[Text, ...] = Field(
        (), description="regular expressions of refusals; empty: the built-in reading"
    )
    compliance_pattern: Text | None = Field(
        None, description="what a coherent answer looks like; None: the built-in language checks"
    )

    @field_validator("refusal_patterns", "compliance_pattern")
    @classmethod
    def _patterns_compile(cls, value: tuple[str, ...] | str | None):
        for pattern in (value,) if isinstance(value, str) else value or ():
            compiles(pattern)
        return value


RULES = "rules"  # the judge that is built in
GuardKind = Literal["llama-guard-3", "harmbench", "wildguard"]
GUARD_KINDS = get_args(GuardKind)
OWN_KINDS = (RULES, *GUARD_KINDS, "rubric")
JudgeKind = Annotated[str, AfterValidator(partial(check_name, "judges", ours=OWN_KINDS))]
JudgeName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]


class GuardSettings(Section):
    """A local generative classifier: Llama Guard 3 or the HarmBench classifier, of harmful suites
    alone, or WildGuard, of all."""

    kind: GuardKind = Field(description="the prompt format that the checkpoint was trained with")
    model: Text = Field(description="checkpoint: folder, or hub owner/name")
    revision: str | None = Field(
        None,
        pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$",
        description="hub commit, 40 hex digits; of a folder the SHA-256 over its files, 64",
    )
    batch: Annotated[Positive, Manner()] = Field(16, description="cases judged at once")
    max_characters: Positive = Field(
        12000, description="a longer text loses its middle before it is judged"
    )


class RubricSettings(Section):
    """A model behind an OpenAI-compatible server, asked for a verdict by a rubric.

    The environment says where: `SAFEREACT_JUDGE_URL` and `SAFEREACT_JUDGE_KEY`.
    """

    kind: Literal["rubric"] = Field("rubric", description="a model that reads a rubric")
    model: Text = Field(description="the model's name on the server")
    temperature: Annotated[float, Field(ge=0, le=2)] = Field(0, description="of its sampling")
    answer_tokens: Positive = Field(64, description="tokens it may write, one verdict")
    max_characters: Positive = Field(
        12000, description="a longer text loses its middle before it is judged"
    )
    concurrency: Annotated[int, Field(ge=1, le=32), Manner()] = Field(
        4, description="requests at a time"
    )
    requests_a_minute: Annotated[Positive, Manner()] = Field(
        120, description="requests are begun no faster"
    )
    timeout: Annotated[float, Field(gt=0), Manner()] = Field(
        60, description="seconds that one may take"
    )
    attempts: Annotated[int, Field(ge=1, le=20), Manner()] = Field(
        6, description="times a case is sent that the server cannot take or does not answer"
    )
    max_requests: Annotated[Positive, Manner()] = Field(
        20000, description="requests of one evaluation, repeated ones included; more stop it"
    )
    prompt_price: Annotated[float, Field(ge=0), Manner()] = Field(
        0, description="US dollars a million prompt tokens"
    )
    completion_price: Annotated[float, Field(ge=0), Manner()] = Field(
        0, description="US dollars a million completion tokens"
    )


class AddedJudgeSettings(Section):
    """A judge that another package adds; see docs/extending.md."""

    kind: JudgeKind = Field(description="the name under which it is registered")
    options: dict[str, JsonValue] = Field(
        default_factory=dict, description="what the judge takes; its package says which keys"
    )


def _family(given: Any) -> str | None:
    kind = given.get("kind") if isinstance(given, dict) else getattr(given, "kind", None)
    if kind is None:
        return None
    return "rubric" if kind == "rubric" else "guard" if kind in GUARD_KINDS else "added"


JudgeSettings = Annotated[
    Annotated[GuardSettings, Tag("guard")]
    | Annotated[RubricSettings, Tag("rubric")]
    | Annotated[AddedJudgeSettings, Tag("added")],
    Discriminator(_family),
]
