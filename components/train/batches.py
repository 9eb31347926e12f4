"""Rows with the positions that a loss counts and their target states, and the batches of a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from components.core.storage import read_json, write_json
from components.lm.batches import by_tokens, pad_right
from components.lm.states import hidden_states
from components.train.rows import TrainingRow

PASS_TOKENS = 2048  # of a forward pass that trains nothing, padding included
_ROWS = "rows.json"


class StoredStates:
    """Hidden states of many rows: index -> (position, layer, hidden), read when asked for."""

    def __init__(self, folder: Path) -> None:
        """Open the files that `store_states` wrote into `folder`."""
        self._handles: dict[int, Any] = {}
        for path in sorted(folder.glob("*.safetensors")):
            handle: Any = safe_open(path, framework="pt")
            self._handles |= dict.fromkeys(map(int, handle.keys()), handle)

    def __getitem__(self, index: int) -> Tensor:
        return self._handles[index].get_tensor(str(index))

    def __len__(self) -> int:
        return len(self._handles)


@torch.inference_mode()
def store_states(
    model: PreTrainedModel,
    rows: Sequence[TrainingRow],
    counted: Sequence[int],
    *,
    layers: Sequence[int],
    folder: Path,
) -> StoredStates:
    """Return the model's states at the last `counted[i]` inputs of every row and at `layers`.

    They are written into `folder` as safetensors in the model's precision, one file a forward
    pass, so that memory holds one batch. The last layer is read after the final norm.
    """
    folder.mkdir(parents=True, exist_ok=True)
    inputs = [row.inputs for row in rows]
    for number, chosen in enumerate(by_tokens(inputs, PASS_TOKENS)):
        lengths = [counted[i] for i in chosen]
        ids, mask = pad_right([inputs[i] for i in chosen], lengths)
        states = hidden_states(model, ids.to(model.device), layers)
        pieces = torch.stack([layer[mask] for layer in states], dim=1).cpu().split(lengths)
        save_file(
            {str(i): piece.contiguous() for i, piece in zip(chosen, pieces, strict=True)},
            folder / f"{number:05d}.safetensors",
        )
    return StoredStates(folder)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one group in one forward pass."""

    prompt_ids: list[str]
    ids: Tensor  # (row, position), padded on the right
    mask: Tensor  # (row, position), true where a position counts
    completions: Tensor  # tokens of the rows' completions, row after row
    positions: int  # that count in the whole step, of which this batch may be a part
    targets: Tensor | None  # (counted position, layer, hidden); None: none are stored

    def to(self, device: torch.device, **_: object) -> Batch:
        """Return the batch with its tensors on `device`; accelerate and the trainer call it."""
        return replace(
            self,
            ids=self.ids.to(device),
            mask=self.mask.to(device),
            completions=self.completions.to(device),
            targets=None if self.targets is None else self.targets.to(device),
        )


@dataclass(frozen=True, slots=True)
class TargetRows:
    """Rows, how many of each row's last inputs count in the loss, and the targets there, if any."""

    rows: Sequence[TrainingRow]
    counted: Sequence[int]
    states: StoredStates | None = None  # None: the step computes what it compares with

    def batch(self, indices: Sequence[int], *, positions: int) -> Batch:
        """Return the rows at `indices`; `positions` count in their whole step."""
        rows = [self.rows[i] for i in indices]
        ids, mask = pad_right([row.inputs for row in rows], [self.counted[i] for i in indices])
        written = [token for row in rows for token in row.completion]
        return Batch(
            prompt_ids=[row.prompt_id for row in rows],
            ids=ids,
            mask=mask,
            completions=torch.tensor(written, dtype=torch.long),
            positions=positions,
            targets=torch.cat([self.states[i] for i in indices]) if self.states else None,
        )

    def save(self, folder: Path) -> None:
        """Write the rows beside their states, which lie in `folder` already where they are kept."""
        rows = [[row.prompt_id, row.prompt, row.completion] for row in self.rows]
        write_json(folder / _ROWS, {"rows": rows, "counted": list(self.counted)})

    @classmethod
    def load(cls, folder: Path) -> TargetRows:
        """Return the rows in `folder`."""
        document = read_json(folder / _ROWS)
        rows = [TrainingRow(name, tuple(p), tuple(c)) for name, p, c in document["rows"]]
        return cls(rows, document["counted"], StoredStates(folder) or None)


@dataclass(frozen=True, slots=True)
class Plan:
    """The rows of every step, drawn in advance.

    An item of a step holds the index of one row in each group. The loss is divided by the positions
    of the whole step, so it does not change with how the step is cut into micro-batches and shared
    by processes.
    """

    groups: Mapping[str, TargetRows]
    steps: Sequence[Sequence[tuple[int, ...]]]
    sizes: Mapping[str, int]  # how many rows there are of each kind

    def items(self, begin: int) -> list[tuple[int, tuple[int, ...]]]:
        """Return the items of the steps from `begin` on, each with the number of its step."""
        return [(k, item) for k in range(begin, len(self.steps)) for item in self.steps[k]]

    def collate(self, items: Sequence[tuple[int, tuple[int, ...]]]) -> dict[str, Batch]:
        """Return items of one step as a batch of each group."""
        step = self.steps[items[0][0]]
        return {
            name: group.batch(
                [item[k] for _, item in items],
                positions=sum(group.counted[item[k]] for item in step),
            )
            for k, (name, group) in enumerate(self.groups.items())
        }

    def tokens(self, step: int) -> int:
        """Return how many tokens a step reads, padding left out."""
        groups = self.groups.values()
        return sum(
            len(group.rows[i].inputs)
            for item in self.steps[step]
            for group, i in zip(groups, item, strict=True)
        )


def paired(groups: Mapping[str, TargetRows], *, steps: int, batch: int, seed: int) -> Plan:
    """Return steps of `batch` rows of each group, each in its own order, one of each an item."""
    generator = np.random.default_rng(seed)
    orders = [
        draw_order(len(group.rows), steps=steps, batch=batch, generator=generator)
        for group in groups.values()
    ]
    items = [list(zip(*step, strict=True)) for step in zip(*orders, strict=True)]
    return Plan(groups, items, {name: len(group.rows) for name, group in groups.items()})


def mixed(kinds: Mapping[str, tuple[Sequence[TrainingRow], int]], *, steps: int, seed: int) -> Plan:
    """Return steps of so many rows of each kind in one group, whose completions count."""
    generator = np.random.default_rng(seed)
    rows: list[TrainingRow] = []
    items: list[list[tuple[int, ...]]] = [[] for _ in range(steps)]
    for own, batch in kinds.values():
        order = draw_order(len(own), steps=steps, batch=batch, generator=generator)
        for step, chosen in zip(items, order, strict=True):
            step += [(len(rows) + i,) for i in chosen]
        rows += own
    group = TargetRows(rows, [len(row.completion) for row in rows])
    return Plan({"mixed": group}, items, {name: len(own) for name, (own, _) in kinds.items()})


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
