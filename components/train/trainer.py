"""What all adapters share: a `transformers.Trainer` that is quiet, seeded, resumable and exact.

A step's batch is drawn in advance and its loss divided by the positions of the whole step, so its
gradient is the same however the step is cut: into micro-batches, or over processes.
"""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer, TrainingArguments

from components.core.errors import TrainingError
from components.train.batches import Item
from components.train.checkpoints import Checkpoints, Progress
from components.train.processes import process_count, refuse_deepspeed

if TYPE_CHECKING:
    from peft import PeftModel

log = logging.getLogger(__name__)

CHECKPOINT_EVERY = 50
_LOG_LINES = 10  # progress lines a training
_DIGITS = 6  # of the losses that are kept


class AdapterTrainer(Trainer):
    """Trains an adapter on steps drawn in advance, with AdamW at a constant rate.

    Keeps every step's figures in `progress` and logs some. What a killed process had left in
    `scratch` is taken up. Raises `TrainingError`, naming the step and the rows, as soon as a loss
    is not finite, and under DeepSpeed.
    """

    label: str
    # It is divided by the positions of the whole step, so accumulation has no part in it.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model: PeftModel,
        steps: Sequence[Sequence[Item]],
        collate: Callable[[Sequence[Item]], dict[str, Any]],
        *,
        lr: float,
        seed: int,
        scratch: Path,
        micro_batch: int | None = None,
        checkpoint_every: int = CHECKPOINT_EVERY,
    ) -> None:
        refuse_deepspeed()
        self.checkpoints = Checkpoints(scratch, every=checkpoint_every, steps=len(steps))
        self.progress = self.checkpoints.resume(model)
        self.begun = self.progress.taken
        left = steps[self.begun :]
        micro, accumulation = share_batch(len(steps[0]), micro_batch, process_count())
        super().__init__(
            model=model,
            args=TrainingArguments(
                output_dir=str(scratch),
                max_steps=len(left),
                per_device_train_batch_size=micro,
                gradient_accumulation_steps=accumulation,
                learning_rate=lr,
                seed=seed,
                use_cpu=next(model.parameters()).device.type == "cpu",
                **_QUIET,
            ),
            train_dataset=[item for step in left for item in step],
            data_collator=collate,
        )
        self.remove_callback(PrinterCallback)
        self.adapted, self.planned, self.steps = model, steps, len(steps)
        self._parts: list[dict[str, Tensor]] = []

    @property
    def step(self) -> int:
        """The step that is being taken, counted from 0."""
        return self.begun + self.state.global_step

    def finish(self) -> Progress:
        """Take the steps that are left and return the progress, with the figures of all."""
        if self.progress.stopped is None and self.progress.taken < self.steps:
            self.add_callback(self.checkpoints)  # after those that may stop the training
            self.train()
        self.adapted.eval()
        return self.progress

    @abstractmethod
    def losses(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a micro-batch and its figures, all of which sum to the step's.

        Every forward pass goes through `model`, the one that may be wrapped for several processes.
        """

    def weights(self) -> dict[str, float]:
        """Return what weighs the parts of this step's loss, to be kept with its figures."""
        return {}

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,  # noqa: ARG002 - the form that Trainer calls
        num_items_in_batch: Tensor | int | None = None,  # noqa: ARG002
    ) -> Any:
        """Return the loss of a micro-batch, once it is found finite."""
        loss, figures = self.losses(model, inputs)
        if not math.isfinite(loss.item()):
            raise TrainingError(
                f"{self.label}: the loss of step {self.step + 1} of {self.steps} is not finite "
                f"({loss.item()}); rows {', '.join(inputs['rows'])}; the learning rate is "
                f"{self.args.learning_rate:g}: lower it"
            )
        self._parts.append({name: figure.detach() for name, figure in figures.items()})
        if self.accelerator.sync_gradients:  # the last micro-batch of its step
            self._keep_figures()
        # Gradients are averaged over the processes, where their sum is wanted.
        return loss * self.args.world_size

    def _keep_figures(self) -> None:
        parts = torch.stack([torch.stack(list(part.values())) for part in self._parts])
        sums = self.accelerator.reduce(parts.sum(dim=0), reduction="sum").tolist()
        told = dict(zip(self._parts[0], sums, strict=True)) | self.weights()
        self._parts.clear()
        step = self.step
        rounded = {name: round(figure, _DIGITS) for name, figure in told.items()}
        self.progress.curves.append({"step": step, **rounded})
        self.progress.tokens += sum(item.tokens for item in self.planned[step])
        if (step + 1) % max(1, self.steps // _LOG_LINES) == 0 or step + 1 == self.steps:
            words = " ".join(f"{name} {figure:.3f}" for name, figure in told.items())
            log.info("%s step %d/%d %s", self.label, step + 1, self.steps, words)


_QUIET: dict[str, Any] = {
    "train_sampling_strategy": "sequential",
    "lr_scheduler_type": "constant",
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
