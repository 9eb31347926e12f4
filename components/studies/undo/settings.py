"""Settings of the stage `undo`."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field, field_validator

from components.core.section import Positive, Rate, Section


class UndoSettings(Section):
    """Settings of the stage `undo`: a fine-tune on harmless rows, as a user of the restored model
    might do one; what is not set here is as in `train`."""

    steps: tuple[Positive, ...] = Field(
        (10, 25, 50, 100, 200),
        min_length=1,
        description="optimiser steps after which refusal is measured, ascending",
    )
    prompts: Positive = Field(256, description="benign and reasoning prompts to train on")
    answers: Literal["reference", "own"] = Field(
        "reference",
        description="what is learnt: reference, the responses of the prompts that have one; own, "
        "the post-trained model's answers, which is the milder test: the adapter was held to them",
    )
    lr: Rate = Field(1e-4, description="learning rate, constant")

    @field_validator("steps")
    @classmethod
    def _ascend(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if any(b <= a for a, b in pairwise(steps)):
            raise ValueError(f"steps must ascend: {list(steps)}")
        return steps
