"""The model that is trained as a loss sees it, and the form of a loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from components.lm.states import hidden_states
from components.train.batches import Batch


@dataclass(frozen=True, slots=True)
class Student:
    """The post-trained model with its adapter."""

    adapted: PeftModel
    wrapped: nn.Module | None = None  # what runs in its place under several processes

    def states(self, batch: Batch, layers: Sequence[int]) -> list[Tensor]:
        """Return the states (row, position, hidden) of each layer.

        The model runs up to the deepest layer and never through the LM head.
        """
        return hidden_states(self.adapted, batch.ids, layers, wrapped=self.wrapped)

    def targets(self, batch: Batch, layers: Sequence[int]) -> Tensor:
        """Return the stored targets of a batch, else the post-trained model's own states, without
        the adapter: (counted position, layer, hidden)."""
        if batch.targets is not None:
            return batch.targets
        with torch.no_grad(), self.adapted.disable_adapter():
            states = self.states(batch, layers)
        return torch.stack([layer[batch.mask] for layer in states], dim=1)

    def logits(self, batch: Batch) -> Tensor:
        """Return the logits (counted position, vocabulary)."""
        model: Any = self.wrapped or self.adapted
        return model(input_ids=batch.ids, logits_to_keep=batch.mask, use_cache=False).logits


@dataclass(frozen=True, slots=True)
class Loss:
    """A micro-batch's part of a step's loss; the parts of all its micro-batches sum to the step's.

    `figures` are kept, summed in the same way; `weights` are kept as they are.
    """

    total: Tensor
    figures: dict[str, Tensor]
    weights: dict[str, float] = field(default_factory=dict)


def completion_loss(student: Student, batch: Mapping[str, Batch], step: int) -> Loss:  # noqa: ARG001
    """Return the mean cross-entropy a token of the completions, in nats, of a `mixed` plan."""
    rows = batch["mixed"]
    total = cross_entropy(student.logits(rows).float(), rows.completions, reduction="sum")
    loss = total / rows.positions
    return Loss(loss, {"cross_entropy": loss})
