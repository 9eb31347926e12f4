"""Settings of the stage `baselines`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from components.core.extensions import added_parts
from components.core.section import Fraction, Positive, Rate, Section
from components.lm.teachers import TEACHERS
from components.train.settings import OWN_METHODS, CircuitBreaker, MethodName, RankOne

# Teachers that say what a method owes to its teacher (controls.py).
CONTROLS = ("shuffled", "answering")
_PAPERS = ("base", "pruned", "reminder", "pruned-reminder")  # teachers of arXiv 2604.00012
ARMS = (
    *OWN_METHODS,
    *(f"safereact-{teacher}" for teacher in _PAPERS),
    *(f"{method}-{control}" for control in CONTROLS for method in ("safereact", "distil")),
)
# Methods whose settings have a section of their own.
OWN_SECTIONS = {"circuit-breaker": "circuit_breaker", "rank-one": "rank_one"}


def split_name(arm: str) -> tuple[str, str | None]:
    """Return the method that an arm's name `METHOD` or `METHOD-TEACHER` begins with, and the
    teacher or control behind it; raises `ValueError` with the names that there are."""
    methods = (*OWN_METHODS, *sorted(added_parts("methods")))
    found = [m for m in methods if arm == m or arm.startswith(f"{m}-")]
    if not found:
        raise ValueError(f"no training method begins {arm!r}; there are: {', '.join(methods)}")
    method = max(found, key=len)
    teacher, taught_by = arm.removeprefix(method)[1:] or None, (*TEACHERS.names(), *CONTROLS)
    if teacher is not None and teacher not in taught_by:
        raise ValueError(
            f"no teacher or control ends {arm!r} behind {method}; there are: {', '.join(taught_by)}"
        )
    return method, teacher


def _known(arm: str) -> str:
    split_name(arm)
    return arm


ArmName = Annotated[
    str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(ARMS)})
]


class MethodSettings(Section):
    """What a method has otherwise than the section `train`; None: nothing."""

    lr: Rate | None = Field(None, description="learning rate")
    steps: Positive | None = Field(None, description="optimiser steps")
    schedule: Annotated[float, Field(ge=1)] | None = Field(None, description="as train.schedule")
    retain_weight: Annotated[float, Field(ge=0)] | None = Field(
        None, description="as train.retain_weight"
    )
    retain: Fraction | None = Field(None, description="share of retained rows, of `sft`")
    target_layers: tuple[Positive, ...] | None = Field(
        None, min_length=1, description="as probe.target_layers"
    )

    @property
    def given(self) -> dict[str, Any]:
        """What is said of the method's own settings."""
        return self.model_dump(exclude_none=True, exclude={"target_layers"})


class BaselinesSettings(Section):
    """Settings of the stage `baselines`; what is not set here is as in `train`."""

    methods: tuple[ArmName, ...] = Field(
        ARMS,
        description="arms that train an adapter: METHOD, or METHOD-TEACHER with a teacher, or a "
        "control in its place: `shuffled`, `answering`",
    )
    settings: dict[MethodName, MethodSettings] = Field(
        default_factory=dict,
        description="by method, with whatever teacher: what it has otherwise than `train`",
    )
    circuit_breaker: CircuitBreaker = CircuitBreaker()
    rank_one: RankOne = RankOne()

    @model_validator(mode="after")
    def _said_once(self) -> BaselinesSettings:
        for method, key in OWN_SECTIONS.items():
            if method in self.settings:
                raise ValueError(f"settings.{method}: set it under baselines.{key}")
        return self

    @model_validator(mode="after")
    def _named_once(self) -> BaselinesSettings:
        if twice := sorted({arm for arm in self.methods if self.methods.count(arm) > 1}):
            raise ValueError(f"methods names {', '.join(twice)} twice")
        return self
