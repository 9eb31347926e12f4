"""The gate's policy: what an adapter must show, read from a file in mlflow/policies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, field_validator, model_validator

from components.config import PROFILE_NAME, Section, Text, explain, read_yaml
from components.errors import ConfigError
from components.records import Arm
from components.results import COMPARED, COMPARISONS, METRICS

# Strict, so that `yes` is not the number 1.
Bound = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Rule(Section):
    """One figure and the bound that the nearer end of its interval must keep."""

    name: Text = Field(description="what the rule asks for, in words")
    metric: str = Field(description="a rate of evaluate/metrics.json, such as harmful.refused")
    arm: Arm = Field(description="whose rate")
    against: Arm | None = Field(
        None, description="another arm: the rule is about the paired difference arm - against"
    )
    at_least: Bound | None = Field(None, description="the interval's lower end must reach this")
    at_most: Bound | None = Field(None, description="the upper end must not exceed this")
    min_n: Annotated[int, Field(strict=True, ge=1)] = Field(description="fewest prompts")

    @field_validator("metric")
    @classmethod
    def _known(cls, metric: str) -> str:
        if metric not in METRICS:
            raise ValueError(f"unknown metric; known are: {', '.join(METRICS)}")
        return metric

    @model_validator(mode="after")
    def _one_bound_that_can_decide(self) -> Rule:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give exactly one of `at_least` and `at_most`")
        lowest = 0.0 if self.against is None else -1.0
        if not lowest <= self.threshold <= 1:
            raise ValueError(f"the bound must lie in {lowest:g} ... 1, not {self.threshold:g}")
        if self.against is not None:
            if (self.arm, self.against) not in COMPARISONS:
                known = ", ".join(f"{arm} against {other}" for arm, other in COMPARISONS)
                raise ValueError(f"these arms are not compared; compared are: {known}")
            if self.metric not in COMPARED:
                raise ValueError(
                    f"arms are not compared in {self.metric}, only in: {', '.join(COMPARED)}"
                )
        return self

    @property
    def threshold(self) -> float:
        """The bound, whichever of the two it is."""
        bound = self.at_least if self.at_least is not None else self.at_most
        assert bound is not None  # the validator holds it
        return bound


class Policy(Section):
    """All that must hold before an adapter is registered."""

    description: str = ""
    confidence: Annotated[float, Field(strict=True, ge=0.5, lt=1)] = Field(
        0.95, description="lowest confidence of the intervals that decide"
    )
    rules: tuple[Rule, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> Policy:
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two rules have the name {twice[0]!r}; names must differ")
        return self


def policy_file(name: str, folder: Path) -> Path:
    """Return the file of the policy `name`; raises `ConfigError` naming those there are."""
    path = folder / f"{name}.yaml"
    if not PROFILE_NAME.fullmatch(name) or not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"
        raise ConfigError(f"unknown policy {name!r}; {folder} holds: {known}")
    return path


def load_policy(path: Path) -> Policy:
    """Return the policy in `path`; raises `ConfigError` naming file, key, value and remedy."""
    try:
        return Policy.model_validate(read_yaml(path))
    except ValidationError as error:
        problems = explain(error, page="mlflow/README.md")
        raise ConfigError(f"{path} is not a valid policy:\n{problems}") from error
