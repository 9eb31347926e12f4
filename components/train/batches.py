"""Rows with the positions that a loss counts and the targets there, and the batches of a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from components.core.errors import StageError
from components.core.progress import Progress
from components.core.storage import read_json, write_json
from components.lm.batches import by_tokens, pad_right
from components.lm.states import states_and_logits
from components.train.divergence import Likely
from components.train.processes import broken
from components.train.rows import TrainingRow

PASS_TOKENS = 2048  # of a forward pass that trains nothing, padding included
_ROWS = "rows.json"
_BROKEN = (StageError, SafetensorError, OSError, KeyError, TypeError, ValueError)
_STATES, _TOKENS, _LOGPROBS = "states", "tokens", "logprobs"


class StoredTargets:
    """What a model computed of many rows, read from disk when asked for, by the row's index."""

    def __init__(self, folder: Path) -> None:
        """Open the files that `store_targets` wrote into `folder`; raises `SafetensorError` or
        `OSError` for one that is broken."""
        self._order: Sequence[int] | None = None
        self._handles: dict[str, Any] = {}
        for path in sorted(folder.glob("*.safetensors")):
            handle: Any = safe_open(path, framework="pt")
            self._handles |= dict.fromkeys(handle.keys(), handle)

    def dealt(self, order: Sequence[int]) -> StoredTargets:
        """Return the same targets, where row i has those of the row `order[i]`."""
        dealt = copy(self)
        dealt._order = order
        return dealt

    def states(self, rows: Sequence[int]) -> Tensor | None:
        """Return the states (position, layer, hidden) of rows, one after the other, if any."""
        return self._of(rows, _STATES)

    def likely(self, rows: Sequence[int]) -> Likely | None:
        """Return the likeliest next tokens at the positions of rows, if any."""
        tokens, logprobs = self._of(rows, _TOKENS), self._of(rows, _LOGPROBS)
        return None if tokens is None or logprobs is None else Likely(tokens, logprobs)

    def check_whole(self, rows: Sequence[TrainingRow]) -> None:
        """Raise `ValueError` where some of these `rows` have targets that others lack: a file is
        gone, and the loss would do without what it held."""
        kinds = {name.partition(".")[2] for name in self._handles}
        for i, row in enumerate(rows):
            wanted = kinds if row.completion else kinds & {_STATES}
            if lost := sorted(kind for kind in wanted if f"{i}.{kind}" not in self._handles):
                raise ValueError(f"row {i} has no {', '.join(lost)}")

    def _of(self, rows: Sequence[int], kind: str) -> Tensor | None:
        names = [f"{self._order[i] if self._order else i}.{kind}" for i in rows]
        if any(name not in self._handles for name in names):
            return None
        return torch.cat([self._handles[name].get_tensor(name) for name in names])

    def __len__(self) -> int:
        return len(self._handles)


@torch.inference_mode()
def store_targets(
    model: PreTrainedModel,
    rows: Sequence[TrainingRow],
    counted: Sequence[int],
    *,
    layers: Sequence[int],
    likeliest: int,
    folder: Path,
) -> StoredTargets:
    """Return the model's states at the last `counted[i]` inputs of every row and at `layers`, and
    the `likeliest` next tokens where the completion's tokens are predicted.

    They are written into `folder` as safetensors, states in the model's precision, one file a
    forward pass, so that memory holds one batch. The last layer is read after the final norm.
    Without `layers`, no states are stored.
    """
    folder.mkdir(parents=True, exist_ok=True)
    progress = Progress("targets of rows", len(rows))
    for number, chosen in enumerate(by_tokens([row.inputs for row in rows], PASS_TOKENS)):
        batch = TargetRows(rows, counted).batch(chosen, step=chosen).to(model.device)
        states, logits = states_and_logits(model, batch.ids, layers, at=batch.predicting)
        found: dict[str, Tensor] = {}
        if states:
            lengths = [counted[i] for i in chosen]
            stacked = torch.stack([layer[batch.mask] for layer in states], dim=1)
            found |= _named(stacked, lengths, chosen, _STATES)
        if len(logits):
            lengths = [len(rows[i].completion) for i in chosen]
            likely = Likely.of(logits, likeliest)
            found |= _named(likely.tokens, lengths, chosen, _TOKENS)
            found |= _named(likely.logprobs, lengths, chosen, _LOGPROBS)
        save_file(found, folder / f"{number:05d}.safetensors")
        progress.add(len(chosen))
    return StoredTargets(folder)


def _named(
    tensor: Tensor, lengths: Sequence[int], rows: Sequence[int], kind: str
) -> dict[str, Tensor]:
    """Return the pieces of a tensor, whose rows have these lengths, under their names."""
    pieces = zip(rows, tensor.cpu().split(list(lengths)), strict=True)
    return {f"{i}.{kind}": piece.contiguous() for i, piece in pieces}


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one group in one forward pass."""

    prompt_ids: list[str]
    ids: Tensor  # (row, position), padded on the right
    mask: Tensor  # (row, position), true where a position's states count
    predicting: Tensor  # (row, position), true where a token of the completion is predicted
    completions: Tensor  # tokens of the rows' completions, row after row
    positions: int  # whose states count in the whole step, of which this batch may be a part
    predicted: int  # tokens of the completions of the whole step
    states: Tensor | None  # targets (counted position, layer, hidden); None: none are stored
    likely: Likely | None  # targets at the predicting positions

    def to(self, device: torch.device, **_: object) -> Batch:
        """Return the batch with its tensors on `device`; accelerate and the trainer call it."""
        return replace(
            self,
            ids=self.ids.to(device),
            mask=self.mask.to(device),
            predicting=self.predicting.to(device),
            completions=self.completions.to(device),
            states=None if self.states is None else self.states.to(device),
            likely=None if self.likely is None else self.likely.to(device),
        )


@dataclass(frozen=True, slots=True)
class TargetRows:
    """Rows, how many of each row's last inputs count in the loss, and the targets there, if any."""

    rows: Sequence[TrainingRow]
    counted: Sequence[int]
    stored: StoredTargets | None = None  # None: the step computes what it compares with

    def batch(self, indices: Sequence[int], *, step: Sequence[int]) -> Batch:
        """Return the rows at `indices`, of those at `step` that the whole step has."""
        rows = [self.rows[i] for i in indices]
        inputs, lengths = [row.inputs for row in rows], [len(row.completion) for row in rows]
        ids, mask = pad_right(inputs, [self.counted[i] for i in indices])
        written = [token for row in rows for token in row.completion]
        return Batch(
            prompt_ids=[row.prompt_id for row in rows],
            ids=ids,
            mask=mask,
            predicting=pad_right(inputs, lengths)[1],
            completions=torch.tensor(written, dtype=torch.long),
            positions=sum(self.counted[i] for i in step),
            predicted=sum(len(self.rows[i].completion) for i in step),
            states=self.stored.states(indices) if self.stored else None,
            likely=self.stored.likely(indices) if self.stored else None,
        )

    def dealt(self, order: Sequence[int]) -> TargetRows:
        """Return the same prompts, where row i has completion, counted positions and targets of the
        row `order[i]`."""
        rows = [
            replace(row, completion=self.rows[i].completion)
            for row, i in zip(self.rows, order, strict=True)
        ]
        stored = self.stored.dealt(order) if self.stored else None
        return TargetRows(rows, [self.counted[i] for i in order], stored)

    def save(self, folder: Path) -> None:
        """Write the rows beside their states, which lie in `folder` already where they are kept."""
        rows = [[row.prompt_id, row.prompt, row.completion] for row in self.rows]
        write_json(folder / _ROWS, {"rows": rows, "counted": list(self.counted)})

    @classmethod
    def load(cls, folder: Path, *, made: Path | None = None) -> TargetRows:
        """Return the rows in `folder`; raises `TrainingError` where they or their targets are
        broken, and says to delete what was `made` at once with them, if that is not `folder`."""
        try:
            document = read_json(folder / _ROWS)
            rows = [TrainingRow(name, tuple(p), tuple(c)) for name, p, c in document["rows"]]
            stored, counted = StoredTargets(folder), [int(n) for n in document["counted"]]
            stored.check_whole(rows)
            if len(counted) != len(rows):
                raise ValueError(f"{len(rows)} rows, of {len(counted)} of which positions count")
        except _BROKEN as error:
            raise broken(made or folder, error) from error
        return cls(rows, counted, stored or None)


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
            name: group.batch([item[k] for _, item in items], step=[item[k] for item in step])
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
