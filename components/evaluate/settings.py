"""Settings of the stage `evaluate`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from components.core.section import Attacks, Manner, Positive, Sampling, Text
from components.core.vocabulary import Role
from components.judges.settings import RULES, JudgeName, JudgeSettings, RulesSettings


class EvaluateSettings(Sampling):
    """Settings of the stage `evaluate`; how a prompt is sampled is of the profile's own prompts."""

    prompts: dict[Role, Positive] = Field(
        default_factory=lambda: dict.fromkeys(Role, 300), description="test prompts a role"
    )
    max_new_tokens: dict[Role, Positive] = Field(
        default_factory=lambda: dict.fromkeys(Role, 64), description="tokens a completion"
    )
    system: str = Field(
        "",
        description="system prompt that the models are served with, before every prompt, those of "
        "named suites, too; empty: none",
    )
    batch: Annotated[Positive, Manner()] = Field(64, description="sequences generated at once")
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        0.95, description="of the intervals of rates and differences"
    )
    rules: RulesSettings = RulesSettings()
    judges: dict[JudgeName, JudgeSettings] = Field(
        default_factory=dict,
        description="judges that suites may name, beside `rules`; docs/judges.md has their keys",
    )
    judged_by: dict[Role, JudgeName] = Field(
        default_factory=dict,
        description="judge of the profile's own test prompts of a role; else `rules`",
    )
    second_judge: dict[Role, JudgeName] = Field(
        default_factory=dict,
        description="second judge of all suites of a role, which reads the same completions; rules "
        "with `both_judges` need it",
    )
    calibration: Text = Field(
        "data/calibration/cases.jsonl",
        description="labelled cases on which every judge in use is tried",
    )
    forced_thought: bool = Field(
        False, description="also measure with the thought opened by the prompt"
    )
    attacks: Attacks = Field(
        (), description="attacks in which the prompts of suites of `attack_roles` are asked, too"
    )
    attack_roles: tuple[Role, ...] = Field(
        (Role.HARMFUL,),
        description="roles that attacks are tried on; with borderline and benign, what is refused "
        "for its wrapping alone is seen",
    )
    attack_prompts: Positive = Field(
        100, description="prompts of a suite that an attack is tried on, drawn by `data_seed`"
    )
    champion: bool = Field(
        False,
        description="also ask the champion, the adapter that is registered under that alias; rules "
        "with `against: champion` need it",
    )

    @field_validator("judges")
    @classmethod
    def _rules_are_built_in(cls, judges: dict[str, JudgeSettings]) -> dict[str, JudgeSettings]:
        if RULES in judges:
            raise ValueError(
                f"the judge `{RULES}` is built in; set evaluate.rules, or rename this one"
            )
        return judges

    @model_validator(mode="after")
    def _every_role_has_a_limit(self) -> EvaluateSettings:
        missing = [role.value for role in self.prompts if role not in self.max_new_tokens]
        if missing:
            raise ValueError(f"max_new_tokens lacks a number for {', '.join(missing)}")
        return self

    @property
    def sampling(self) -> Sampling:
        """How the profile's own prompts are answered."""
        return Sampling(**self.model_dump(include=set(Sampling.model_fields)))

    def judge_of(self, role: Role) -> str:
        """Return what the profile calls the judge of its own prompts of a role."""
        return self.judged_by.get(role, RULES)
