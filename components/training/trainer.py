"""What both adapters share: a `transformers.Trainer` that is quiet, seeded and stops at once."""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from transformers import PrinterCallback, Trainer, TrainingArguments

from components.errors import TrainingError

if TYPE_CHECKING:
    from peft import PeftModel

log = logging.getLogger(__name__)

_LOG_LINES = 10  # progress lines a training
_DIGITS = 6  # of the losses that are kept

Curves = list[dict[str, float]]


class AdapterTrainer(Trainer):
    """Trains an adapter on batches drawn in advance, with AdamW at a constant rate.

    Keeps every step's losses in `curves` and logs some. Raises `TrainingError`, naming the step
    and the rows, as soon as a loss is not finite.
    """

    label: str

    def __init__(
        self,
        model: PeftModel,
        batches: Sequence[Sequence[Any]],
        collate: Callable[[Sequence[Any]], dict[str, Any]],
        *,
        lr: float,
        seed: int,
        scratch: Path,
    ) -> None:
        device = next(model.parameters()).device
        arguments = TrainingArguments(
            output_dir=str(scratch),
            max_steps=len(batches),
            per_device_train_batch_size=len(batches[0]),
            train_sampling_strategy="sequential",
            learning_rate=lr,
            lr_scheduler_type="constant",
            optim="adamw_torch",
            max_grad_norm=1.0,
            seed=seed,
            use_cpu=device.type == "cpu",
            remove_unused_columns=False,
            label_names=[],
            dataloader_pin_memory=False,
            disable_tqdm=True,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
        )
        items = [item for batch in batches for item in batch]
        super().__init__(model=model, args=arguments, train_dataset=items, data_collator=collate)
        self.remove_callback(PrinterCallback)
        self.adapted = model
        self.curves: Curves = []

    @abstractmethod
    def losses(self, inputs: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of a batch and the figures to keep of it."""

    def compute_loss(
        self,
        model: nn.Module,  # noqa: ARG002 - the form that Trainer calls
        inputs: dict[str, Any],
        return_outputs: bool = False,  # noqa: ARG002
        num_items_in_batch: Tensor | int | None = None,  # noqa: ARG002
    ) -> Any:
        """Return the loss of a batch, once its figures are kept and found finite."""
        loss, figures = self.losses(inputs)
        step, steps = self.state.global_step, self.state.max_steps
        if not all(map(math.isfinite, (loss.item(), *figures.values()))):
            raise TrainingError(
                f"{self.label}: the loss of step {step + 1} of {steps} is not finite "
                f"({loss.item()}); rows {', '.join(inputs['rows'])}; the learning rate is "
                f"{self.args.learning_rate:g}: lower it"
            )
        rounded = {name: round(figure, _DIGITS) for name, figure in figures.items()}
        self.curves.append({"step": step, **rounded})
        if (step + 1) % max(1, steps // _LOG_LINES) == 0 or step + 1 == steps:
            told = " ".join(f"{name} {figure:.3f}" for name, figure in figures.items())
            log.info("%s step %d/%d %s", self.label, step + 1, steps, told)
        return loss
