"""The model that is trained as a loss sees it, and the form of a loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from components.lm.states import hidden_states, states_and_logits
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
        if batch.states is not None:
            return batch.states
        with torch.no_grad(), self.adapted.disable_adapter():
            states = self.states(batch, layers)
        return torch.stack([layer[batch.mask] for layer in states], dim=1)

    def logits(self, batch: Batch) -> Tensor:
        """Return the logits (predicting position, vocabulary)."""
        return self.states_and_logits(batch, ())[1]

    def states_and_logits(self, batch: Batch, layers: Sequence[int]) -> tuple[list[Tensor], Tensor]:
        """Return the states (row, position, hidden) of each layer, and the logits (predicting
        position, vocabulary), of one pass through the whole model."""
        return states_and_logits(
            self.adapted, batch.ids, layers, at=batch.predicting, wrapped=self.wrapped
        )


@dataclass(frozen=True, slots=True)
class Loss:
    """A micro-batch's part of a step's loss; the parts of all its micro-batches sum to the step's.

    `figures` are kept, summed in the same way; `weights` are kept as they are.
    """

    total: Tensor
    figures: dict[str, Tensor]
    weights: dict[str, float] = field(default_factory=dict)


def written_entropy(student: Student, rows: Batch) -> Tensor:
    """Return the mean cross-entropy a token of the step's completions, in nats."""
    logits = student.logits(rows).float()
    return cross_entropy(logits, rows.completions, reduction="sum") / rows.predicted


def completion_loss(student: Student, batch: Mapping[str, Batch], step: int) -> Loss:  # noqa: ARG001
    """Return the mean cross-entropy a token of a `mixed` plan's completions, in nats."""
    loss = written_entropy(student, batch["mixed"])
    return Loss(loss, {"cross_entropy": loss})
