"""Checkpoints of a training, so that a killed one ends as an undisturbed one would have.

Safetensors and JSON only. They go through torch's own distributed state dictionaries, so a model
that is wrapped (DDP) or sharded (FSDP) is saved and resumed like a plain one.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from transformers import TrainerCallback

from components.core.errors import TrainingError
from components.core.run_record import spent, spent_before
from components.core.storage import atomic_folder, read_json, write_json

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

log = logging.getLogger(__name__)

Curves = list[dict[str, float]]

_TENSORS, _PROGRESS = "state.safetensors", "progress.json"
_WEIGHTS, _MOMENTS, _RANDOM = "weights/", "moments/", "random/"
_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


@dataclass(slots=True)
class Progress:
    """What a training has done so far."""

    curves: Curves = field(default_factory=list)  # a line of figures a step
    tokens: int = 0  # read, padding left out
    stopped: str | None = None  # when and why it ended before its last step
    # What had been spent on the part when the last checkpoint was written; no result holds it.
    seconds: float = field(default=0.0, compare=False)
    peak_memory_mib: int = field(default=0, compare=False)

    @property
    def taken(self) -> int:
        """The number of optimiser steps taken."""
        return len(self.curves)


def trained_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights that training changes, by name, whole and on the CPU.

    Every process must call it; where the model is sharded, only the first gets them.
    """
    names = {name for name, weight in model.named_parameters() if weight.requires_grad}
    states: dict[str, Any] = get_model_state_dict(model, options=_WHOLE)
    return {name: tensor for name, tensor in states.items() if name in names}


class Checkpoints(TrainerCallback):
    """Writes the newest checkpoint into `folder`, every `every` steps and at the end.

    `resume` is called before the training. The optimiser's moments follow when the optimiser is
    there, and the state of the random generators at the first step's begin: until then the data
    loader has drawn from them.
    """

    def __init__(self, folder: Path, *, every: int, steps: int) -> None:
        self.folder, self.every, self.steps = folder, every, steps
        self.progress = Progress()
        self._tensors: dict[str, Tensor] = {}

    def resume(self, model: nn.Module) -> Progress:
        """Return how far the newest checkpoint came, once its weights are in `model`.

        What had been spent until then counts to the part that goes on. Raises `TrainingError` where
        the checkpoint is broken or of another adapter.
        """
        found = sorted(self.folder.glob("step-*"))
        if not found:
            return self.progress
        try:
            self._tensors = load_file(found[-1] / _TENSORS)
        except (OSError, SafetensorError) as error:
            raise TrainingError(
                f"checkpoint {found[-1].name} cannot be read ({error}); run the stage again, it "
                "then starts from the beginning"
            ) from error
        weights = self._part(_WEIGHTS)
        expected = {n: w.shape for n, w in model.named_parameters() if w.requires_grad}
        if {name: weight.shape for name, weight in weights.items()} != expected:
            raise TrainingError(
                f"checkpoint {found[-1].name} is of another adapter; run the stage again, it then "
                "starts from the beginning"
            )
        model.load_state_dict(weights, strict=False)
        self.progress = Progress(**read_json(found[-1] / _PROGRESS))
        spent_before(self.progress.seconds, self.progress.peak_memory_mib)
        log.info("going on after step %d of %d", self.progress.taken, self.steps)
        return self.progress

    def on_train_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002 - the form that Trainer calls
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,  # noqa: ARG002
        **given: Any,
    ) -> None:
        """Restore the optimiser's moments."""
        moments: dict[str, dict[str, Tensor]] = {}
        for key, tensor in self._part(_MOMENTS).items():
            name, _, kind = key.rpartition("/")
            moments.setdefault(name, {})[kind] = tensor
        if moments:
            model, optimizer = given["model"], given["optimizer"].optimizer
            states: dict[str, Any] = get_optimizer_state_dict(model, optimizer)
            states["state"] = moments
            whole = StateDictOptions(full_state_dict=True)
            set_optimizer_state_dict(model, optimizer, states, options=whole)

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,  # noqa: ARG002
        **given: Any,
    ) -> None:
        """Restore the random generators, once, unless the number of processes has changed."""
        random = self._part(_RANDOM)
        self._tensors = {}
        if not random or len(random["cpu"]) != args.world_size:
            return
        # Clones, since a generator reads a state from where its storage begins.
        own = {name: states[args.process_index].clone() for name, states in random.items()}
        torch.set_rng_state(own["cpu"])
        if "device" in own:
            device = _device_of(given["model"])
            torch.get_device_module(device).set_rng_state(own["device"], device)

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,
        **given: Any,
    ) -> None:
        """Write a checkpoint where one is due."""
        taken = self.progress.taken
        if taken % self.every and taken != self.steps and not control.should_training_stop:
            return
        model, optimizer = given["model"], given["optimizer"].optimizer
        states: dict[str, Any] = get_optimizer_state_dict(model, optimizer, options=_WHOLE)
        tensors = {_WEIGHTS + name: tensor for name, tensor in trained_weights(model).items()}
        for name, kinds in states.get("state", {}).items():
            tensors |= {f"{_MOMENTS}{name}/{kind}": tensor for kind, tensor in kinds.items()}
        tensors |= {_RANDOM + name: s for name, s in _random_states(_device_of(model)).items()}
        if state.is_world_process_zero:
            self._write(tensors)

    def _part(self, prefix: str) -> dict[str, Tensor]:
        return {
            key.removeprefix(prefix): tensor
            for key, tensor in self._tensors.items()
            if key.startswith(prefix)
        }

    def _write(self, tensors: dict[str, Tensor]) -> None:
        older = list(self.folder.glob("step-*"))
        self.progress.seconds, self.progress.peak_memory_mib = spent()
        with atomic_folder(self.folder / f"step-{self.progress.taken:06d}") as new:
            save_file(tensors, new / _TENSORS)
            write_json(new / _PROGRESS, asdict(self.progress))
        for folder in older:
            shutil.rmtree(folder)


def _device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _random_states(device: torch.device) -> dict[str, Tensor]:
    """Return the random generators' states, (process, byte) each: of the CPU, and of `device`."""
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states["device"] = torch.get_device_module(device).get_rng_state(device)
    return {name: gather(state.to(device)[None]).cpu() for name, state in states.items()}
