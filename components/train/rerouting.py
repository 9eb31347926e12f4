"""Circuit breakers, a method to compare with: harmful states are rerouted, not taught a refusal.

Source: Zou et al. 2024 (arXiv 2406.04313), section 3, "representation rerouting".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from components.lm.states import hidden_states
from components.train.batches import PairCollator, Side
from components.train.checkpoints import Progress
from components.train.pairs import PairTrainer, draw_pairs
from components.train.trainer import CHECKPOINT_EVERY

if TYPE_CHECKING:
    from peft import PeftModel


def rerouting_layers(layers: int) -> tuple[int, ...]:
    """Return the layers at a third and two thirds of the depth; the paper has 10 and 20 of 32."""
    return tuple(sorted({max(1, layers * third // 3) for third in (1, 2)}))


def mean_positive_cosine(
    states: Sequence[Tensor], targets: Tensor, mask: Tensor, *, positions: int
) -> Tensor:
    """Return the sum over layers and real positions of max(0, cos(states, targets)), divided by
    the layers and by `positions`.

    Shapes as in `losses.mean_distance`. 0: every state is at right angles or beyond; 1: unmoved.
    """
    cosines = [
        cosine_similarity(layer[mask].float(), targets[:, i].float(), dim=-1).clamp(min=0).sum()
        for i, layer in enumerate(states)
    ]
    return torch.stack(cosines).mean() / positions


def coefficients(step: int, *, steps: int, strength: float) -> tuple[float, float]:
    """Return the weights of rerouting and retention: alpha (1 - t / 2T) and alpha t / 2T."""
    retained = step / (2 * steps)
    return strength * (1 - retained), strength * retained


def reroute(
    adapted: PeftModel,
    harmful: Side,
    retain: Side,
    *,
    layers: Sequence[int],
    steps: int,
    batch: int,
    lr: float,
    strength: float,
    seed: int,
    scratch: Path,
    micro_batch: int | None = None,
    checkpoint_every: int = CHECKPOINT_EVERY,
) -> Progress:
    """Train the adapter in place, on `batch` rows of each side a step; return the losses by step.

    `harmful` holds the model's own states on compliant answers at `layers`, to be left; `retain`
    its states at layers 1 to the deepest of them, to be kept.
    """
    return ReroutingTrainer(
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
    ).finish()


class ReroutingTrainer(PairTrainer):
    """Turns the states of harmful answers away from what they were, and holds all others."""

    label = "rerouting"

    def losses(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return this micro-batch's part of the loss and of its parts, cosine and retention."""
        harmful = inputs["harmful"]
        cosine = mean_positive_cosine(
            hidden_states(self.adapted, harmful["ids"], self.target_layers, wrapped=model),
            harmful["targets"],
            harmful["mask"],
            positions=harmful["positions"],
        )
        retention = self.distance(model, inputs["retain"], self.retained_layers)
        away, keep = coefficients(self.step, steps=self.steps, strength=self.strength)
        return away * cosine + keep * retention, {"cosine": cosine, "retention": retention}
