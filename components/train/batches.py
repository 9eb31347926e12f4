"""Batches: the order of rows, drawn in advance, and rows as padded tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from components.lm.batches import pad_right

if TYPE_CHECKING:
    from components.train.rows import Row
    from components.train.targets import StoredStates


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


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a loss: rows, the positions that count, and their target states, if any."""

    rows: Sequence[Row]
    tails: Sequence[int]  # how many of a row's last inputs count
    targets: StoredStates | None = None  # None: the step computes what it compares with

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
class Item:
    """One row of every side, and how many positions of each side count in its whole step.

    The loss is divided by the step's positions, so it does not change with how the step is cut
    into micro-batches and shared by processes.
    """

    rows: tuple[int, ...]
    positions: tuple[int, ...]
    tokens: int  # that its rows hold


def plan_steps(
    steps: Sequence[Sequence[tuple[int, ...]]], sides: Sequence[Side]
) -> list[list[Item]]:
    """Return the items of every step, whose entries hold one row's index a side."""
    return [_plan_step(step, sides) for step in steps]


def _plan_step(step: Sequence[tuple[int, ...]], sides: Sequence[Side]) -> list[Item]:
    chosen = zip(sides, zip(*step, strict=True), strict=True)
    positions = tuple(sum(side.tails[i] for i in rows) for side, rows in chosen)
    return [
        Item(
            rows,
            positions,
            sum(len(side.rows[i].inputs) for side, i in zip(sides, rows, strict=True)),
        )
        for rows in step
    ]


@dataclass(frozen=True, slots=True)
class PairCollator:
    """Items of a harmful and a retained row each as the batches of both sides, each with the
    `positions` of its whole step."""

    harmful: Side
    retain: Side

    def __call__(self, items: Sequence[Item]) -> dict[str, Any]:
        harmful, retain = zip(*(item.rows for item in items), strict=True)
        positions = items[0].positions
        named = [(self.harmful, harmful), (self.retain, retain)]
        return {
            "harmful": {**self.harmful.batch(harmful), "positions": positions[0]},
            "retain": {**self.retain.batch(retain), "positions": positions[1]},
            "rows": [side.rows[i].prompt_id for side, chosen in named for i in chosen],
        }


@dataclass(frozen=True, slots=True)
class CompletionCollator:
    """Items of one row each as ids, a mask of the positions that predict completions, and those."""

    rows: Sequence[Row]

    def __call__(self, items: Sequence[Item]) -> dict[str, Any]:
        rows = [self.rows[i] for item in items for i in item.rows]
        ids, mask = pad_right([row.inputs for row in rows], [len(row.completion) for row in rows])
        written = [token for row in rows for token in row.completion]
        return {
            "ids": ids,
            "mask": mask,
            "completions": torch.tensor(written, dtype=torch.long),
            "positions": items[0].positions[0],
            "rows": [row.prompt_id for row in rows],
        }
