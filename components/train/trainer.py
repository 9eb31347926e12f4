"""What all trainings share: a `transformers.Trainer` that is quiet, seeded, resumable and exact.

A step's batch is drawn in advance and its loss divided by the positions of the whole step, so its
gradient is the same however the step is cut: into micro-batches, or over processes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from peft import PeftModel
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainingArguments,
)

from components.core.errors import TrainingError
from components.lm.loading import available_memory
from components.lm.masks import block_widths
from components.train.activations import asks_for_checkpoints, checkpoint_blocks, kept_bytes
from components.train.batches import Batch, Plan
from components.train.checkpoints import Checkpoints, Progress
from components.train.passes import Item, cut, widest_pass
from components.train.processes import process_count
from components.train.student import Loss, Student

log = logging.getLogger(__name__)

_LOG_LINES = 10  # progress lines a training
_DIGITS = 6  # of the losses that are kept
_WORTH_BYTES = 256 << 20  # of activations, for which a forward pass more is worth its while


class AdapterTrainer(Trainer):
    """Trains an adapter on the steps of a plan, with AdamW.

    A step, counted from 0, is taken at `lr` times `rate` of it, at `lr` by default. Every step's
    figures are in `progress`, and some are logged. What a killed process had left in `scratch` is
    taken up. `checkpoint_activations` None: where memory asks for it (activations.py). `after_step`
    is called with the progress after every step and may return why the training stops. Raises
    `TrainingError`, naming the step and the rows, as soon as a loss is not finite.
    """

    # It is divided by the positions of the whole step, so accumulation has no part in it.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        adapted: PeftModel,
        plan: Plan,
        loss: Callable[[Student, Mapping[str, Batch], int], Loss],
        *,
        label: str,
        lr: float,
        seed: int,
        scratch: Path,
        micro_batch: int | None = None,
        checkpoint_activations: bool | None = False,
        checkpoint_every: int = 50,
        rate: Callable[[int], float] = lambda step: 1.0,  # noqa: ARG005
        after_step: Callable[[Progress], str | None] | None = None,
    ) -> None:
        self.steps = len(plan.steps)
        self.checkpoints = Checkpoints(scratch, every=checkpoint_every, steps=self.steps)
        self.progress = self.checkpoints.resume(adapted)
        self.begun = self.progress.taken
        micro, accumulation = share_batch(len(plan.steps[0]), micro_batch, process_count())
        args = TrainingArguments(
            output_dir=str(scratch),
            max_steps=self.steps - self.begun,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=accumulation,
            learning_rate=lr,
            seed=seed,
            use_cpu=next(adapted.parameters()).device.type == "cpu",
            **_QUIET,
        )
        if _wants_checkpoints(checkpoint_activations, adapted, widest_pass(plan, micro)):
            log.info("%s: activations are computed again in the backward pass", label)
            checkpoint_blocks(adapted)
        self.plan, self.least = plan, _worth_a_pass(adapted)
        super().__init__(
            model=adapted,
            args=args,
            train_dataset=plan.items(self.begun),
            data_collator=self._collate,
        )
        self.remove_callback(PrinterCallback)
        self.adapted, self.loss, self.label = adapted, loss, label
        self.rate, self.after_step = rate, after_step
        self._figures: list[dict[str, Tensor]] = []

    @property
    def step(self) -> int:
        """The step that is being taken, counted from 0."""
        return self.begun + self.state.global_step

    def create_scheduler(
        self,
        num_training_steps: int,  # noqa: ARG002 - the form that Trainer calls
        optimizer: Optimizer | None = None,
    ) -> LRScheduler:
        """Return the schedule of the rate, from where a resumed training goes on."""
        optimizer = optimizer or self.optimizer
        assert optimizer is not None, "it is made before its schedule"
        self.lr_scheduler = LambdaLR(optimizer, lambda taken: self.rate(self.begun + taken))
        return self.lr_scheduler

    def finish(self) -> Progress:
        """Take the steps that are left and return the progress, with the figures of all."""
        if self.progress.stopped is None and self.progress.taken < self.steps:
            self.add_callback(_BetweenSteps(self))
            self.train()
        self.adapted.eval()
        return self.progress

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,  # noqa: ARG002 - the form that Trainer calls
        num_items_in_batch: Tensor | int | None = None,  # noqa: ARG002
    ) -> Any:
        """Return the loss of a micro-batch, the sum over its parts, once each is found finite.

        `model` may be wrapped for several processes.
        """
        student, total = Student(self.adapted, model), torch.zeros((), device=self.args.device)
        for part in inputs["parts"]:
            batch: dict[str, Batch] = {k: rows.to(self.args.device) for k, rows in part.items()}
            loss = self.loss(student, batch, self.step)
            if not math.isfinite(loss.total.item()):
                ids = ", ".join(name for rows in batch.values() for name in rows.prompt_ids)
                raise TrainingError(
                    f"{self.label}: the loss of step {self.step + 1} of {self.steps} is not finite "
                    f"({loss.total.item()}); rows {ids}; the learning rate is "
                    f"{self.args.learning_rate:g}: lower it"
                )
            total = total + loss.total
            self._figures.append({name: figure.detach() for name, figure in loss.figures.items()})
        if self.accelerator.sync_gradients:  # the last micro-batch of its step
            self._keep_figures(loss.weights)
        # Gradients are averaged over the processes, where their sum is wanted.
        return total * self.args.world_size

    def _collate(self, items: Sequence[Item]) -> dict[str, list[dict[str, Batch]]]:
        """Return the parts of a micro-batch, each in a forward pass of its own where a cut saves
        much padding."""
        return {"parts": [self.plan.collate(part) for part in cut(self.plan, items, self.least)]}

    def _keep_figures(self, weights: Mapping[str, float]) -> None:
        parts = torch.stack([torch.stack(list(part.values())) for part in self._figures])
        sums = self.accelerator.reduce(parts.sum(dim=0), reduction="sum").tolist()
        self.progress.losses = names = list(self._figures[0])
        figures = dict(zip(names, sums, strict=True)) | dict(weights)
        self._figures.clear()
        step = self.step
        rounded = {name: round(figure, _DIGITS) for name, figure in figures.items()}
        self.progress.curves.append({"step": step, **rounded})
        self.progress.tokens += self.plan.tokens(step)
        if (step + 1) % max(1, self.steps // _LOG_LINES) == 0 or step + 1 == self.steps:
            line = " ".join(f"{name} {figure:.3f}" for name, figure in figures.items())
            log.info("%s step %d/%d %s", self.label, step + 1, self.steps, line)


class _BetweenSteps(TrainerCallback):
    """Restores what a killed training left, looks after every step, and writes checkpoints."""

    def __init__(self, trainer: AdapterTrainer) -> None:
        self.trainer, self.checkpoints = trainer, trainer.checkpoints

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ARG002
        """Restore the optimiser's moments; until now there is no optimiser."""
        self.checkpoints.restore_optimizer(given["model"], given["optimizer"].optimizer)

    def on_step_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ARG002
        """Restore the random generators; until the first step the data loader draws from them."""
        processes = args.world_size, args.process_index
        self.checkpoints.restore_random(given["model"], *processes)

    def on_step_end(self, args: Any, state: Any, control: TrainerControl, **given: Any) -> None:  # noqa: ARG002
        """Stop where `after_step` says so, and write a checkpoint where one is due."""
        progress, look = self.trainer.progress, self.trainer.after_step
        if look and (reason := look(progress)):
            progress.stopped = f"early, after step {progress.taken}: {reason}"
            control.should_training_stop = True
        first = state.is_world_process_zero
        self.checkpoints.write_if_due(given["model"], given["optimizer"].optimizer, first=first)


_QUIET: dict[str, Any] = {
    "train_sampling_strategy": "sequential",
    "optim": "adamw_torch",
    "max_grad_norm": 1.0,
    "remove_unused_columns": False,
    "label_names": [],
    "dataloader_pin_memory": False,
    # All weights that are trained take part in every loss, and no buffer changes.
    "ddp_find_unused_parameters": False,
    "ddp_broadcast_buffers": False,
    "disable_tqdm": True,
    "logging_strategy": "no",
    "save_strategy": "no",
    "report_to": "none",
}


def _worth_a_pass(adapted: PeftModel) -> float:
    """Return the padding tokens for which a forward pass more is worth its while; processes that
    divide the model must run it equally often, so for them no number is."""
    return _WORTH_BYTES / _kept_bytes(adapted) if process_count() == 1 else math.inf


def _wants_checkpoints(asked: bool | None, adapted: PeftModel, tokens: int) -> bool:
    """Return what was asked; None: whether a pass of so many tokens asks for checkpoints, as the
    first process finds."""
    if asked is not None:
        return asked
    model: Any = adapted.get_base_model()
    free = available_memory(model.device)
    asks = free is not None and asks_for_checkpoints(tokens * _kept_bytes(adapted), free)
    return bool(broadcast_object_list([asks])[0])


def _kept_bytes(adapted: PeftModel) -> float:
    """Return the bytes that a token leaves in all blocks, without checkpoints."""
    model: Any = adapted.get_base_model()
    widths, blocks = block_widths(model), model.config.num_hidden_layers
    return blocks * kept_bytes(widths, model.dtype.itemsize, checkpointed=False)


def share_batch(batch: int, micro_batch: int | None, processes: int) -> tuple[int, int]:
    """Return the sequences a forward pass and the forward passes a step, of one process.

    A micro-batch is never larger than a process's share of the batch. Raises `TrainingError` where
    the batch cannot be cut evenly.
    """
    share = batch // processes
    micro = min(micro_batch or share, share)
    if micro == 0 or batch % (micro * processes):
        raise TrainingError(
            f"a batch of {batch} cannot be cut evenly into micro-batches of "
            f"{micro_batch or share} on {processes} processes; set train.batch to a multiple of "
            "train.micro_batch times the processes"
        )
    return micro, batch // (micro * processes)
