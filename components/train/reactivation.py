"""SafeReAct itself: the adapter's training towards stored hidden states."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from components.train.batches import PairCollator, Side
from components.train.checkpoints import Curves, Progress
from components.train.early_stop import Criterion, EarlyStop
from components.train.losses import reactivation_loss, retention_weight
from components.train.pairs import PairTrainer, draw_pairs
from components.train.trainer import CHECKPOINT_EVERY

if TYPE_CHECKING:
    from peft import PeftModel


def reactivate(
    adapted: PeftModel,
    harmful: Side,
    retain: Side,
    *,
    layers: Sequence[int],
    steps: int,
    batch: int,
    lr: float,
    strength: float,
    schedule: float,
    seed: int,
    scratch: Path,
    micro_batch: int | None = None,
    checkpoint_every: int = CHECKPOINT_EVERY,
    criterion: Criterion | None = None,
) -> Progress:
    """Train the adapter in place, on `batch` rows of each side a step; return the losses by step.

    `strength` is a and `schedule` the factor of the steps in the loss (see losses.py). With a
    `criterion` the training ends as soon as it is met.
    """
    trainer = ReactivationTrainer(
        adapted,
        draw_pairs(harmful, retain, steps=steps, batch=batch, seed=seed),
        PairCollator(harmful, retain),
        lr=lr,
        seed=seed,
        scratch=scratch,
        micro_batch=micro_batch,
        checkpoint_every=checkpoint_every,
        layers=layers,
        strength=strength,
        schedule=schedule,
    )
    if criterion is not None:
        trainer.add_callback(EarlyStop(criterion, adapted, trainer.progress))
    return trainer.finish()


def first_and_last(curves: Curves, name: str) -> tuple[float, float]:
    """Return the mean of a loss over the first and over the last tenth of the steps."""
    tenth = -(-len(curves) // 10)
    values = [line[name] for line in curves]
    return round(fmean(values[:tenth]), 6), round(fmean(values[-tenth:]), 6)


class ReactivationTrainer(PairTrainer):
    """SafeReAct (arXiv 2604.00012): towards the teacher on harmful rows, in place on the others.

    Deviation from the paper: retention is measured at layers 1 to the deepest target, which are
    all layers only where the last one is a target; the layers above have no adapter.
    """

    label = "reactivating"

    def __init__(self, *arguments: Any, schedule: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.schedule = schedule

    def weights(self) -> dict[str, float]:
        """Return c, the weight of the retention."""
        return {"c": retention_weight(self.step, steps=self.steps, schedule=self.schedule)}

    def losses(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return this micro-batch's part of L and of its parts, alignment and retention."""
        alignment = self.distance(model, inputs["harmful"], self.target_layers)
        retention = self.distance(model, inputs["retain"], self.retained_layers)
        loss = reactivation_loss(
            alignment, retention, weight=self.weights()["c"], strength=self.strength
        )
        return loss, {"alignment": alignment, "retention": retention}
