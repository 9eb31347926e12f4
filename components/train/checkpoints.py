"""Checkpoints of a training, so that a killed one ends as an undisturbed one would have.

Safetensors and JSON only. They go through torch's own distributed state dictionaries, so a model
that is wrapped (DDP) or sharded (FSDP) is saved and resumed like a plain one.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from accelerate.utils import gather
from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.optim import Optimizer

from components.core.errors import StageError, TrainingError
from components.core.run_record import spent, spent_before
from components.core.storage import atomic_folder, read_json, write_json

log = logging.getLogger(__name__)

_TENSORS, _PROGRESS = "state.safetensors", "progress.json"
_WEIGHTS, _MOMENTS, _RANDOM = "weights/", "moments/", "random/"
_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


@dataclass(slots=True)
class Progress:
    """What a training has done so far."""

    curves: list[dict[str, float]] = field(default_factory=list)  # a line of figures a step
    losses: list[str] = field(default_factory=list)  # the figures that are parts of the loss
    tokens: int = 0  # read, padding left out
    stopped: str | None = None  # when and why it ended before its last step
    # What had been spent on the part when the last checkpoint was written; no result holds it.
    seconds: float = field(default=0.0, compare=False)
    peak_memory_mib: int = field(default=0, compare=False)

    @property
    def taken(self) -> int:
        """The number of optimiser steps taken."""
        return len(self.curves)

    def first_and_last(self, name: str) -> tuple[float, float]:
        """Return the mean of a figure over the first and over the last tenth of the steps."""
        tenth = -(-len(self.curves) // 10)
        values = [line[name] for line in self.curves]
        return round(fmean(values[:tenth]), 6), round(fmean(values[-tenth:]), 6)

    def __add__(self, later: Progress) -> Progress:
        """Return the progress of a training that another one went on with."""
        curves = [line | {"step": line["step"] + self.taken} for line in later.curves]
        tokens = self.tokens + later.tokens
        return Progress(self.curves + curves, later.losses, tokens, later.stopped)


def trained_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights that training changes, by name, whole and on the CPU.

    Every process must call it; where the model is sharded, only the first gets them.
    """
    names = {name for name, weight in model.named_parameters() if weight.requires_grad}
    states: dict[str, Any] = get_model_state_dict(model, options=_WHOLE)
    return {name: tensor for name, tensor in states.items() if name in names}


class Checkpoints:
    """The newest checkpoint of a training in `folder`, written every `every` steps and at the end.

    `resume` puts the weights back before the training, `restore_optimizer` the moments once there
    is an optimiser, `restore_random` the random generators when the first step begins.
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
        name = found[-1].name
        again = f"delete {self.folder}, and the training starts from the beginning"
        try:
            self._tensors = load_file(found[-1] / _TENSORS)
            progress = read_json(found[-1] / _PROGRESS)
            # What it returns has other numbers, but as many steps.
            taken = TypeAdapter(Progress).validate_python(progress).taken
            if taken != int(name.removeprefix("step-")):
                raise ValueError(f"it tells of {taken} steps")
        except (OSError, SafetensorError, StageError, ValueError) as error:
            said = " ".join(str(error).split())
            raise TrainingError(f"checkpoint {name} cannot be read ({said}); {again}") from error
        weights = self._part(_WEIGHTS)
        expected = {n: w.shape for n, w in model.named_parameters() if w.requires_grad}
        if {key: weight.shape for key, weight in weights.items()} != expected:
            raise TrainingError(f"checkpoint {name} is of another adapter; {again}")
        model.load_state_dict(weights, strict=False)
        self.progress = Progress(**progress)
        spent_before(self.progress.seconds, self.progress.peak_memory_mib)
        log.info("going on after step %d of %d", self.progress.taken, self.steps)
        return self.progress

    def restore_optimizer(self, model: nn.Module, optimizer: Optimizer) -> None:
        """Put the moments of the checkpoint that was resumed into `optimizer`."""
        moments: dict[str, dict[str, Tensor]] = {}
        for key, tensor in self._part(_MOMENTS).items():
            name, _, kind = key.rpartition("/")
            moments.setdefault(name, {})[kind] = tensor
        if moments:
            states: dict[str, Any] = get_optimizer_state_dict(model, optimizer)
            states["state"] = moments
            whole = StateDictOptions(full_state_dict=True)
            set_optimizer_state_dict(model, optimizer, states, options=whole)

    def restore_random(self, model: nn.Module, processes: int, process: int) -> None:
        """Set the random generators as they were, once, unless the number of processes differs."""
        random = self._part(_RANDOM)
        self._tensors = {}
        if not random or len(random["cpu"]) != processes:
            return
        # Clones, since a generator reads a state from where its storage begins.
        own = {name: states[process].clone() for name, states in random.items()}
        torch.set_rng_state(own["cpu"])
        if "device" in own:
            device = _device_of(model)
            torch.get_device_module(device).set_rng_state(own["device"], device)

    def write_if_due(self, model: nn.Module, optimizer: Optimizer, *, first: bool) -> None:
        """Write a checkpoint where one is due; every process calls it, the `first` writes."""
        taken = self.progress.taken
        if taken % self.every and taken != self.steps and self.progress.stopped is None:
            return
        states: dict[str, Any] = get_optimizer_state_dict(model, optimizer, options=_WHOLE)
        tensors = {_WEIGHTS + name: tensor for name, tensor in trained_weights(model).items()}
        for name, kinds in states.get("state", {}).items():
            tensors |= {f"{_MOMENTS}{name}/{kind}": tensor for kind, tensor in kinds.items()}
        tensors |= {_RANDOM + name: s for name, s in _random_states(_device_of(model)).items()}
        if not first:
            return
        older = list(self.folder.glob("step-*"))
        self.progress.seconds, self.progress.peak_memory_mib = spent()
        with atomic_folder(self.folder / f"step-{taken:06d}") as new:
            save_file(tensors, new / _TENSORS)
            write_json(new / _PROGRESS, asdict(self.progress))
        for folder in older:
            shutil.rmtree(folder)

    def _part(self, prefix: str) -> dict[str, Tensor]:
        return {
            key.removeprefix(prefix): tensor
            for key, tensor in self._tensors.items()
            if key.startswith(prefix)
        }


def _device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _random_states(device: torch.device) -> dict[str, Tensor]:
    """Return the random generators' states, (process, byte) each: of the CPU, and of `device`."""
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states["device"] = torch.get_device_module(device).get_rng_state(device)
    return {name: gather(state.to(device)[None]).cpu() for name, state in states.items()}
