"""Refusal directions: where in its hidden states a model tells harmful from benign prompts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from components.core.errors import DataError
from components.core.vocabulary import Role
from components.probe.last_tokens import States


@dataclass(frozen=True, slots=True)
class Axis:
    """A refusal direction at every layer, with a scale.

    0 is the mean of benign prompts and 1 that of harmful ones, at their last token, in the model
    that the axis is of.
    """

    directions: Tensor  # (layer, hidden), unit length
    origins: Tensor  # (layer,): the benign mean along the direction
    lengths: Tensor  # (layer,): from the benign to the harmful mean

    def project(self, states: Tensor, layer: int) -> Tensor:
        """Return where the states (..., hidden) of one layer, 1 = first, lie on the axis: (...)."""
        along = states.float() @ self.directions[layer - 1].to(states.device)
        return (along - self.origins[layer - 1].item()) / self.lengths[layer - 1].item()


def refusal_axis(states: States) -> Axis:
    """Return the axis from the benign to the harmful mean at every layer.

    Difference in means: Arditi et al. 2024 (arXiv 2406.11717), section 2.3; they read several
    positions, we read the last. Raises `DataError` where the means are equal, so that there is no
    direction.
    """
    harmful, benign = (
        torch.stack([layer.mean(dim=0) for layer in states[role]])
        for role in (Role.HARMFUL, Role.BENIGN)
    )
    difference = harmful - benign
    lengths = difference.norm(dim=-1)
    if (lengths == 0).any():
        layer = int((lengths == 0).nonzero()[0]) + 1
        raise DataError(
            f"harmful and benign prompts have the same mean state at layer {layer}; are they the "
            "same prompts, or does the template drop the user's text?"
        )
    directions = difference / lengths[:, None]
    return Axis(directions, (benign * directions).sum(dim=-1), lengths)


def separation(harmful: Tensor, benign: Tensor) -> float:
    """Return the norm of the difference in means over the mean norm of the states.

    Both are (prompt, hidden). Free of the layer's scale, so that layers and models compare.
    """
    difference = harmful.mean(dim=0) - benign.mean(dim=0)
    return float(difference.norm() / torch.cat((harmful, benign)).norm(dim=-1).mean())
