"""Trainings as processes of their own: what one process or several make of the same case, which is
a folder with what they need."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext
from pathlib import Path

import torch
from accelerate import PartialState
from safetensors.torch import save_file
from transformers import TrainerCallback

from components.core.launcher import is_first
from components.core.storage import read_json
from components.lm.loading import load_model
from components.models.result import Models
from components.prepare.result import PromptSet
from components.probe.result import Probe
from components.train.adapters import BaseName, add_lora
from components.train.batches import Plan, TargetRows
from components.train.methods import SafeReAct
from components.train.settings import Lora, TrainSettings
from components.train.stage import train
from components.train.student import completion_loss
from components.train.trainer import AdapterTrainer

LAYERS = (1, 2)  # of three, so that the deepest target is not the last layer
PAIRS = [[(4 * k + i, (4 * k + 3 * i) % 12) for i in range(4)] for k in range(3)]


class Gradients(TrainerCallback):
    """Keeps what the optimiser is given at every step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, args, state, control, **given):
        weights = given["model"].named_parameters()
        self.steps.append({n: w.grad.clone() for n, w in weights if w.grad is not None})


def adapted_model(folder: Path):
    """Return the checkpoint in `folder` with an adapter that already changes its states."""
    adapted = add_lora(
        load_model(folder),
        Lora(r=4, alpha=4, dropout=0),
        layers=range(1, max(LAYERS) + 1),
        base=BaseName("post-trained"),
        seed=0,
    )
    generator = torch.Generator().manual_seed(0)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, 0.1, generator=generator)
    return adapted


def gradients(case: Path, which: str, scratch: Path, micro_batch: int | None = None):
    """Return the gradients of three steps, one mapping a step, and the figures that were kept."""
    adapted = adapted_model(case / "post-trained")
    harmful, retained = TargetRows.load(case / "harmful"), TargetRows.load(case / "retained")
    if which == "safereact":
        plan = Plan({"harmful": harmful, "retained": retained}, PAIRS, {})
        loss = SafeReAct(TrainSettings(steps=3), LAYERS, 3).loss
    else:
        completions = TargetRows(retained.rows, [len(row.completion) for row in retained.rows])
        plan = Plan({"mixed": completions}, [[(i,) for _, i in step] for step in PAIRS], {})
        loss = completion_loss
    run = {"label": which, "lr": 1e-3, "seed": 0, "scratch": scratch, "micro_batch": micro_batch}
    trainer = AdapterTrainer(adapted, plan, loss, checkpoint_activations=None, **run)
    trainer.args.max_grad_norm = 0  # clipped gradients would hide a wrong scale
    kept = Gradients()
    trainer.add_callback(kept)
    progress = trainer.finish()
    return kept.steps, progress


def run_stage(case: Path, out: Path):
    """Return the result of the stage, run on the case's results into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    return train(
        TrainSettings.model_validate(read_json(case / "section.json")),
        PromptSet.load(case / "prompts"),
        Models.load(case / "models"),
        Probe.load(case / "probe"),
        seed=0,
        out=out,
    )


def write_gradients(case: Path, environment: Mapping[str, str]) -> None:
    """Write the gradients of both methods into the case, from the first of several processes;
    `environment` says which one this is, as a launcher does."""
    os.environ.update(environment)
    for which in ("safereact", "sft"):
        steps, _ = gradients(case, which, case / f"scratch-{which}")
        if is_first():
            named = {f"{k}/{name}": g for k, step in enumerate(steps) for name, g in step.items()}
            save_file(named, case / f"{which}.safetensors")
    # A process that leaves early may cut off what another still receives.
    PartialState().wait_for_everyone()
    PartialState().destroy_process_group()


def forks() -> ForkServerContext:
    """Return what starts processes from one that has imported this module already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context
