"""The processes of one training: which one this is, and how the others wait for the first.

A launcher such as torchrun tells each process its place through the environment. What the first
process writes the others read, so all of them see one file system.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from accelerate.utils import parse_flag_from_env

from components.core.errors import TrainingError
from components.core.launcher import is_first
from components.core.result import Result
from components.core.storage import atomic_folder

R = TypeVar("R", bound=Result)

_POLL_SECONDS = 0.2


def process_count() -> int:
    """Return the number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def refuse_launcher_settings() -> None:
    """Raise `TrainingError` where accelerate is set to divide the model by DeepSpeed, or to
    checkpoint activations itself.

    Our checkpoints go through torch's state dictionaries, which do not know ZeRO's wrapper, and
    accelerate's wrapper of a block that is computed again renames its weights.
    """
    if parse_flag_from_env("ACCELERATE_USE_DEEPSPEED"):
        raise TrainingError(
            "the launcher turns DeepSpeed on (ACCELERATE_USE_DEEPSPEED), whose optimiser our "
            "checkpoints cannot keep; divide the model by FSDP instead: SAFEREACT_LAUNCHER="
            "'accelerate launch --config_file docs/fsdp.yaml'"
        )
    if parse_flag_from_env("FSDP_ACTIVATION_CHECKPOINTING"):
        raise TrainingError(
            "the launcher checkpoints activations (FSDP_ACTIVATION_CHECKPOINTING), which renames "
            "the weights that our checkpoints keep; set fsdp_activation_checkpointing: false in "
            "its file, and train.checkpoint_activations: true in the profile"
        )


def wait_for(path: Path) -> None:
    """Return once the first process has put `path` there, wholly.

    There is no time limit, unlike with a barrier: a teacher may take hours. The launcher
    ends all processes when one fails.
    """
    while not path.exists():
        time.sleep(_POLL_SECONDS)


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return `folder`, which the first process fills by `make` unless a killed run had done so."""
    if is_first() and not folder.exists():
        with atomic_folder(folder) as scratch:
            make(scratch)
    wait_for(folder)
    return folder


def broken(what: Path, error: Exception) -> TrainingError:
    """Return the error of what lies below `what`, which was made once, and cannot be used; the
    remedy is its removal, since a stage that failed is taken up as it was left."""
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return TrainingError(
        f"what an earlier run left in {what} cannot be read ({said}), which no interruption does: "
        "delete that folder, and it is made anew"
    )


def save_once(result: R, out: Path, scratch: Path) -> R:
    """Return the result that the first process saves in `out`, once every process calls it.

    The `scratch` that it came from goes last: whatever ends the process before that, a full disk
    or a kill, loses no step.
    """
    if not is_first():
        wait_for(out / result.FILE)
        return result.load(out)
    result.save(out)
    if scratch.is_dir():
        shutil.rmtree(scratch)
    return result
