"""What is kept of a checkpoint: its name, its digest, and how its chat template writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from components.core.result import Record
from components.core.storage import digest_bytes


class PromptContract(Record):
    """How a prompt becomes tokens; an adapter is valid under the contract it was trained with."""

    template: str  # SHA-256 of the chat template
    tokenizer: str  # SHA-256 of vocabulary and merges, as the tokenizer serialises itself
    bos: str | None
    generation_prefix: str  # what the template puts after the last user turn
    opens_thought: bool  # the generation prefix ends within an open thought

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        return digest_bytes(self.model_dump_json().encode())


class CheckpointRef(Record):
    """One checkpoint. `location` is relative to the result's folder, a local path, or a hub id."""

    location: str
    where: str = Field(pattern="^(stage|local|hub)$")
    revision: str | None = None
    digest: str = Field(description="SHA-256 over the checkpoint's files, or the hub commit")


class ModelRef(CheckpointRef):
    """A checkpoint of the pair, and how it reads prompts."""

    architecture: str
    parameters: int
    layers: int
    hidden: int
    vocabulary: int
    contract: PromptContract


@dataclass(frozen=True, slots=True)
class Vector:
    """What alignment changed in an ancestor of the post-trained model, between its checkpoints."""

    post_trained: Path
    aligned: Path
    ancestor: Path
    scale: float
