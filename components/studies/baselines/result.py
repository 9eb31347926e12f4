"""What the stage `baselines` hands on."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import model_validator

from components.core import paths
from components.core.result import Record, Result
from components.lm.references import PromptContract


class Baseline(Record):
    """One arm's adapter, or the reason why it could not be trained on this pair."""

    arm: str  # METHOD or METHOD-TEACHER
    digest: str | None  # SHA-256 over the adapter's folder
    reason: str | None
    lr: float = 0
    parameters: int = 0
    steps: int = 0
    rows: int = 0  # harmful rows it was trained on
    tokens: int = 0  # read in training, padding left out

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.digest is None) == (self.reason is None):
            raise ValueError(f"{self.arm}: either an adapter or a reason, not both or none")
        return self


class Baselines(Result):
    """The adapters of the other methods, each in a folder of its arm's name."""

    FILE: ClassVar[str] = paths.BASELINES

    base_model: str  # digest of the post-trained checkpoint
    data: str
    contract: PromptContract
    method: str  # of the adapter of `train`
    forms: tuple[str, ...]  # in which prompts were put in training, the same for all
    arms: tuple[Baseline, ...]

    def adapter(self, arm: str) -> Path:
        """Folder of an arm's adapter."""
        return self.folder / arm
