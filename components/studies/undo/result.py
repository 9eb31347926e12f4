"""What the stage `undo` hands on."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from components.core import paths
from components.core.result import Record, Result
from components.core.vocabulary import Arm
from components.lm.references import PromptContract


class Tuned(Record):
    """An arm's model after so many steps of a fine-tune on harmless rows."""

    arm: Arm
    steps: int
    digest: str  # SHA-256 over the fine-tune's own adapter, which goes on top of the merged arm


class Undo(Result):
    """The adapters that a fine-tune on harmless rows put on the restored model, and on that of the
    LoRA-SFT baseline, once their own adapters are merged into the weights."""

    FILE: ClassVar[str] = paths.UNDO

    base_model: str  # digest of the post-trained checkpoint
    adapters: dict[Arm, str]  # digests of the adapters that were merged
    data: str
    contract: PromptContract
    rows: int
    loss: dict[Arm, tuple[float, float]]  # nats a token, mean of the first and last tenth of steps
    tuned: tuple[Tuned, ...]

    def adapter(self, arm: Arm, steps: int) -> Path:
        """Folder of the adapter after so many steps."""
        return paths.tuned_adapter(self.folder, arm, steps)
