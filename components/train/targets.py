"""Targets computed once: hidden states on disk, memory-mapped, so that their model can be freed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from components.core.errors import TrainingError
from components.lm.batches import by_tokens, pad_right
from components.lm.states import hidden_states

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TOKENS = 2048  # a forward pass, padding included


class StoredStates:
    """Hidden states of many sequences: index -> (position, layer, hidden), read when asked for."""

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
    sequences: Sequence[Sequence[int]],
    tails: Sequence[int],
    *,
    layers: Sequence[int],
    folder: Path,
) -> StoredStates:
    """Return the states of every sequence at its last `tails[i]` positions and at `layers`.

    They are written into `folder` as safetensors in the model's precision, one file a forward
    pass, so that memory holds one batch. The last layer is read after the final norm.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(by_tokens(sequences, _TOKENS)):
        ids, mask = pad_right([sequences[i] for i in rows], [tails[i] for i in rows])
        states = hidden_states(model, ids.to(model.device), layers)
        packed = torch.stack([layer[mask] for layer in states], dim=1).cpu()
        pieces = packed.split([tails[i] for i in rows])
        save_file(
            {str(i): piece.contiguous() for i, piece in zip(rows, pieces, strict=True)},
            folder / f"{number:05d}.safetensors",
        )
    return StoredStates(folder)


def check_targets(targets: Sequence[int], layers: int) -> int:
    """Return the deepest target layer; raises `TrainingError` where a target is not a layer."""
    if not targets or any(not 1 <= layer <= layers for layer in targets):
        raise TrainingError(
            f"target layers {list(targets)} are not layers of the post-trained model, which has "
            f"1 to {layers}; set probe.target_layers"
        )
    return max(targets)


def states_bytes(positions: int, layers: int, hidden: int, dtype: torch.dtype) -> int:
    """Return how many bytes the states of so many positions and layers take."""
    return positions * layers * hidden * dtype.itemsize
