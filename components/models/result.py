"""Result of the stage `models`: the pair."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from components.core import paths
from components.core.result import Result
from components.lm.references import CheckpointRef, ModelRef


class Models(Result):
    """The pair: the aligned base model and its post-trained descendant."""

    FILE: ClassVar[str] = paths.MODELS

    base: ModelRef
    post_trained: ModelRef
    ancestor: CheckpointRef | None = None  # what the base was aligned from
    lineage: str
    same_lineage: bool = Field(description="architecture, sizes and tokenizer agree")

    @property
    def vector(self) -> tuple[CheckpointRef, CheckpointRef, CheckpointRef] | None:
        """The checkpoints of the teacher `vector`: post-trained, aligned and ancestor."""
        return (self.post_trained, self.base, self.ancestor) if self.ancestor else None
