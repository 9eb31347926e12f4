"""Settings of the stage `withstand`."""

from __future__ import annotations

from pydantic import Field

from components.core.section import Fraction, Positive, Section


class WithstandSettings(Section):
    """Settings of the stage `withstand`; what is not set here is as in `evaluate`."""

    prompts: Positive = Field(
        100, description="harmful, and as many benign, test prompts that every model is asked"
    )
    layers: Positive = Field(
        8, description="layers whose refusal direction is tried, spread over the first 80 %"
    )
    validation_prompts: Positive = Field(
        32, description="validation prompts a role on which each direction is tried"
    )
    direction_prompts: Positive = Field(
        128, description="training prompts a role behind the restored model's own directions"
    )
    min_coherent: Fraction = Field(
        0.9, description="share of its language that a model must keep without the direction"
    )
