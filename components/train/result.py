"""What the stage `train` hands on: the adapter."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from components.core import paths
from components.core.result import Result
from components.lm.references import PromptContract


class Adapter(Result):
    """The SafeReAct adapter and its LoRA-SFT baseline, both in PEFT's own format."""

    FILE: ClassVar[str] = paths.TRAINING

    method: str = "safereact"  # as `train.method` names it
    digest: str  # SHA-256 over the adapter's folder
    baseline_digest: str
    base_model: str  # digest of the post-trained checkpoint it belongs to
    data: str  # digest_of_prompts it was trained on
    contract: PromptContract
    teacher: str
    target_layers: tuple[int, ...]
    adapted_layers: int
    parameters: int
    steps: int  # optimiser steps taken
    stopped: str = "after all its steps"  # when and why the training ended
    baseline_steps: int = 0  # of the LoRA-SFT baseline
    tokens: int  # read in training, padding left out
    baseline_tokens: int
    harmful_rows: int
    teacher_refused: int  # harmful prompts that the teacher refused, over all forms
    teacher_prompts: int  # and how many it was asked
    retain_rows: int
    losses: dict[str, tuple[float, float]]  # parts: mean of the first and last tenth of the steps

    @property
    def adapter(self) -> Path:
        """Folder of the SafeReAct adapter."""
        return self.folder / paths.ADAPTER

    @property
    def baseline(self) -> Path:
        """Folder of the LoRA-SFT baseline."""
        return self.folder / paths.BASELINE
