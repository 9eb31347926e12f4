"""What the stage `baselines` is told."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from components.core.section import Fraction, Positive, Rate, Section, one_of
from components.core.vocabulary import PROMPTED, Method

TRAINED = tuple(method for method in Method if method not in PROMPTED)


TrainedMethod = Annotated[Method, one_of(TRAINED)]


class CircuitBreaker(Section):
    """Representation rerouting (Zou et al. 2024, arXiv 2406.04313, section 3)."""

    layers: tuple[Positive, ...] | Literal["auto"] = Field(
        "auto", description="layers that are rerouted; auto: at a third and two thirds of the depth"
    )
    strength: Annotated[float, Field(gt=0)] = Field(10, description="alpha of both coefficients")
    tokens: Positive = Field(24, description="tokens of the compliant answers that are rerouted")
    lr: Rate = Field(1e-4, description="learning rate, constant")
    steps: Positive = Field(150, description="optimiser steps")


class RankOne(Section):
    """Rank 1 on the middle layers' up_proj (Xue and Mirzasoleiman 2025, arXiv 2507.17075)."""

    retain: Fraction = Field(0, description="share of retained rows; the paper has refusals alone")
    lr: Rate = Field(1e-3, description="learning rate, constant")
    steps: Positive = Field(100, description="optimiser steps")


class BaselinesSettings(Section):
    """Settings of the stage `baselines`; what is not set here is as in `train`."""

    methods: tuple[TrainedMethod, ...] = Field(TRAINED, description="methods that train an adapter")
    circuit_breaker: CircuitBreaker = CircuitBreaker()
    rank_one: RankOne = RankOne()

    @field_validator("methods")
    @classmethod
    def _train_an_adapter(cls, methods: tuple[Method, ...]) -> tuple[Method, ...]:
        if odd := [method.value for method in methods if method not in TRAINED]:
            raise ValueError(f"{', '.join(odd)} train nothing; put them under compare.prompted")
        return methods
