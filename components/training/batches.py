"""Batches: the order of rows, drawn in advance, and rows as padded tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from components.training.rows import Row
    from components.training.targets import StoredStates


def draw_order(
    rows: int, *, steps: int, batch: int, generator: np.random.Generator
) -> list[list[int]]:
    """Return the rows of each of `steps` batches: passes over all rows in random order.

    Every row is seen equally often, give or take once. Rows are not grouped by length: lengths go
    with roles, so that a batch would hold one role alone, and on the tiny pair reasoning suffered.
    """
    passes = -(-steps * batch // rows)
    stream: list[int] = []
    for _ in range(passes):
        stream += generator.permutation(rows).tolist()
    return [stream[step * batch : (step + 1) * batch] for step in range(steps)]


def pad_right(sequences: Sequence[Sequence[int]], tails: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return ids and mask, both (batch, position), padded on the right with id 0.

    The mask is true at the last `tails[i]` positions of sequence i.
    """
    width = max(len(sequence) for sequence in sequences)
    ids = torch.zeros(len(sequences), width, dtype=torch.long)
    mask = torch.zeros(len(sequences), width, dtype=torch.bool)
    for row, (sequence, tail) in enumerate(zip(sequences, tails, strict=True)):
        ids[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.long)
        mask[row, len(sequence) - tail : len(sequence)] = True
    return ids, mask


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the SafeReAct loss: rows, the positions that count, their target states."""

    rows: Sequence[Row]
    tails: Sequence[int]  # how many of a row's last inputs count
    targets: StoredStates | None  # None: computed in the step, by the student without its adapter

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Return `ids` and `mask` (batch, position), and `targets` (real position, layer, hidden)
        where they are stored."""
        inputs = [self.rows[i].inputs for i in indices]
        ids, mask = pad_right(inputs, [self.tails[i] for i in indices])
        tensors = {"ids": ids, "mask": mask}
        if self.targets is not None:
            tensors["targets"] = torch.cat([self.targets[i] for i in indices])
        return tensors


@dataclass(frozen=True, slots=True)
class PairCollator:
    """Pairs of a harmful and a retained row's index as the batches of both sides."""

    harmful: Side
    retain: Side

    def __call__(self, pairs: Sequence[tuple[int, int]]) -> dict[str, Any]:
        harmful, retain = zip(*pairs, strict=True)
        named = [(self.harmful, harmful), (self.retain, retain)]
        return {
            "harmful": self.harmful.batch(harmful),
            "retain": self.retain.batch(retain),
            "rows": [side.rows[i].prompt_id for side, chosen in named for i in chosen],
        }


@dataclass(frozen=True, slots=True)
class CompletionCollator:
    """Indices of rows as ids, a mask of the positions that predict completions, and those."""

    rows: Sequence[Row]

    def __call__(self, indices: Sequence[int]) -> dict[str, Any]:
        rows = [self.rows[i] for i in indices]
        ids, mask = pad_right([row.inputs for row in rows], [len(row.completion) for row in rows])
        written = [token for row in rows for token in row.completion]
        return {
            "ids": ids,
            "mask": mask,
            "completions": torch.tensor(written, dtype=torch.long),
            "rows": [row.prompt_id for row in rows],
        }
