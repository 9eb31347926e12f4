"""The losses of SafeReAct: distances of hidden states, and the schedule that weighs them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def mean_distance(
    states: Sequence[Tensor], targets: Tensor, mask: Tensor, *, positions: int
) -> Tensor:
    """Return the mean over layers l and `positions` positions t of ||states_l,t - targets_t,l||_2.

    `states` holds one tensor (batch, position, hidden) a layer; `mask` (batch, position) is true
    at the real positions; `targets` (real position, layer, hidden) are those positions' targets,
    row after row. `positions` are the real ones of the whole step, of which a batch may be a part:
    the parts' losses sum to the step's, however it is cut. Padding takes no part, so a wider batch
    has the same loss; the authors' code averages over it, which is why ours differs. Computed in
    single precision.
    """
    distances = [
        torch.linalg.vector_norm(layer[mask].float() - targets[:, i].float(), dim=-1)
        for i, layer in enumerate(states)
    ]
    return torch.stack(distances).sum() / (positions * len(distances))


def retention_weight(step: int, *, steps: int, schedule: float) -> float:
    """Return c = step / (schedule * steps), with the step counted from 0.

    Source: the authors' settings, c = step / (1.5 * max_steps).
    """
    return step / (schedule * steps)


def reactivation_loss(
    alignment: Tensor, retention: Tensor, *, weight: float, strength: float
) -> Tensor:
    """Return L = a (1 - c) * alignment + a c * retention, with a = `strength`, c = `weight`.

    Source: arXiv 2604.00012, the training objective with its linear schedule.
    """
    return strength * ((1 - weight) * alignment + weight * retention)
