"""What `safereact tune` searches."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from components.core.section import Fraction, Positive, Section
from components.core.vocabulary import Role
from components.lm.teachers import OURS, TeacherName

Factor = Annotated[float, Field(ge=1)]


RetainShare = Annotated[float, Field(gt=0, le=0.5)]


class TuneSettings(Section):
    """What `safereact tune` searches and asks of a setting. No stage reads it, so no change of it
    makes a result stale. The profile's own setting is always within the search."""

    teachers: tuple[TeacherName, ...] = Field(
        OURS,
        min_length=1,
        description="teachers to try, of those that passed their check in `probe`",
    )
    layer_counts: tuple[Positive, ...] = Field(
        (2, 4, 6),
        min_length=1,
        description="how many layers to align, spread over the whole depth or its upper half",
    )
    lr_factor: Factor = Field(5, description="from train.lr over this to train.lr times this")
    steps_factor: Factor = Field(2, description="the same for train.steps")
    min_retain_share: RetainShare = Field(
        0.2, description="least mean weight c of the retained rows, set through train.schedule"
    )
    max_retain_share: RetainShare = Field(0.5, description="greatest mean weight c")
    prompts: dict[Role, Positive] = Field(
        default_factory=lambda: dict.fromkeys(Role, 100),
        description="prompts a role that a trial is measured on, of the validation split",
    )
    max_benign_rise: Fraction = Field(
        0.03, description="by how much more benign prompts may be refused than before"
    )
    max_borderline_rise: Fraction = Field(
        0.1, description="the same for borderline prompts, where there are some"
    )
    max_reasoning_loss: Fraction = Field(
        0.02, description="how much reasoning the best setting may cost"
    )

    @model_validator(mode="after")
    def _bounds_and_roles(self) -> TuneSettings:
        if self.min_retain_share > self.max_retain_share:
            raise ValueError(
                f"min_retain_share {self.min_retain_share:g} is above max_retain_share "
                f"{self.max_retain_share:g}"
            )
        needed = (Role.HARMFUL, Role.BENIGN, Role.REASONING)
        if missing := [role.value for role in needed if role not in self.prompts]:
            raise ValueError(f"prompts lacks a number for {', '.join(missing)}")
        return self
