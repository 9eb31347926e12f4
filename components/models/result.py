"""Result of the stage `models`: the pair."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from components.core import paths
from components.core.result import Result
from components.lm.references import ModelRef


class Models(Result):
    """The pair: the aligned base model and its post-trained descendant."""

    FILE: ClassVar[str] = paths.MODELS

    base: ModelRef
    post_trained: ModelRef
    lineage: str
    same_lineage: bool = Field(description="architecture, sizes and tokenizer agree")
