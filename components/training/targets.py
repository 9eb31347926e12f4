"""Targets computed once: hidden states on disk, memory-mapped, so that their model can be freed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from components.errors import TrainingError
from components.lm.batches import by_length
from components.lm.states import backbone, captured_states
from components.training.batches import pad_right

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_BATCH = 32  # sequences a forward pass


class StoredStates:
    """Hidden states of many sequences: index -> (position, layer, hidden), read when asked for."""

    def __init__(self, files: dict[int, Path]) -> None:
        handles: dict[Path, Any] = {
            path: safe_open(path, framework="pt") for path in sorted(set(files.values()))
        }
        self._handles = {index: handles[path] for index, path in files.items()}

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
    folder.mkdir(parents=True)
    files: dict[int, Path] = {}
    with captured_states(model, layers) as states:
        for number, rows in enumerate(by_length(sequences, _BATCH)):
            ids, mask = pad_right([sequences[i] for i in rows], [tails[i] for i in rows])
            run_decoder(model, ids.to(model.device))
            packed = torch.stack([states[layer][mask] for layer in layers], dim=1).cpu()
            pieces = packed.split([tails[i] for i in rows])
            path = folder / f"{number:05d}.safetensors"
            save_file({str(i): p.contiguous() for i, p in zip(rows, pieces, strict=True)}, path)
            files |= dict.fromkeys(rows, path)
    return StoredStates(files)


def run_decoder(model: nn.Module, ids: Tensor) -> Tensor:
    """Return the decoder's last hidden states (batch, position, hidden), without the LM head.

    `ids` are padded on the right: under the causal mask no real position sees the padding, so no
    attention mask is needed and the fast attention kernels apply.
    """
    return backbone(model)(input_ids=ids, use_cache=False).last_hidden_state


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
