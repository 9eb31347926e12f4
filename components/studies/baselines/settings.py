"""Settings of the stage `baselines`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from components.core.section import Section, one_of
from components.core.vocabulary import PROMPTED, Method
from components.train.settings import CircuitBreaker, RankOne

TRAINED = tuple(method for method in Method if method not in PROMPTED)


TrainedMethod = Annotated[Method, one_of(TRAINED)]


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
