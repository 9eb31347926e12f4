"""Masks of weights to remove: which matrices they cover, how they lie on disk, how they act.

Both the probing, which makes them, and the training, which may take the pruned model as its
teacher, need them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from components.errors import ModelError, StageError
from components.lm.states import backbone
from components.storage import atomic_path

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_SHAPES = "shapes"


def projections(model: nn.Module) -> dict[str, nn.Linear]:
    """Return the seven projections of every decoder block: name -> linear module.

    Names such as `layers.0.mlp.up_proj` are relative to the decoder and alike with and without a
    PEFT wrapper, whose base weights are meant. Raises `ModelError` for another architecture.
    """
    found: dict[str, nn.Linear] = {}
    for index, block in enumerate(backbone(model).layers):
        for path, module in block.named_modules():
            if path.rpartition(".")[2] in PROJECTIONS:
                found[f"layers.{index}.{path}"] = getattr(module, "base_layer", module)
        here = sorted(projection_of(n) for n in found if n.startswith(f"layers.{index}."))
        if here != sorted(PROJECTIONS):
            raise ModelError(
                f"decoder block {index + 1} is not supported: it has {', '.join(here) or 'none'} "
                f"of the projections {', '.join(PROJECTIONS)}, each of which must be there once"
            )
    for name, linear in found.items():
        if not isinstance(linear, nn.Linear):
            raise ModelError(f"{name} is a {type(linear).__name__}, not a plain linear layer")
    return found


def projection_of(name: str) -> str:
    """Return the kind of projection a matrix is, such as `up_proj`."""
    return name.rpartition(".")[2]


def pack(mask: Tensor) -> Tensor:
    """Return a boolean mask of any shape as bytes (n,), eight weights a byte, row by row."""
    return torch.from_numpy(np.packbits(mask.cpu().numpy()))


def unpack(packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the boolean mask of `shape` that `pack` made bytes of.

    Raises `StageError` where the number of bytes is not that shape's.
    """
    size = int(np.prod(shape))
    if packed.numel() != (size + 7) // 8:
        raise StageError(f"a packed mask of shape {shape} cannot have {packed.numel()} bytes")
    bits = np.unpackbits(packed.numpy(), count=size)
    return torch.from_numpy(bits.astype(bool)).reshape(shape)


def save_masks(path: Path, masks: Mapping[str, Tensor]) -> None:
    """Write boolean masks, by matrix name, as packed bits with their shapes as metadata."""
    from safetensors.torch import save_file

    # One metadata entry: safetensors does not keep several in a fixed order.
    shapes = json.dumps({name: list(masks[name].shape) for name in sorted(masks)})
    with atomic_path(path) as scratch:
        save_file({name: pack(mask) for name, mask in masks.items()}, scratch, {_SHAPES: shapes})


def load_masks(path: Path) -> dict[str, Tensor]:
    """Return the boolean masks in `path`, by matrix name; raises `StageError` for a broken file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as stored:
            shapes = json.loads((stored.metadata() or {})[_SHAPES])
            return {name: unpack(stored.get_tensor(name), tuple(shapes[name])) for name in shapes}
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise StageError(
            f"{path} cannot be read as masks ({error}); run the stage `probe` again"
        ) from error


@contextmanager
def pruned(model: nn.Module, masks: Mapping[str, Tensor]) -> Iterator[None]:
    """Set the masked weights of `model` to zero within the block, and restore them bit by bit.

    Only the removed weights are kept aside. Raises `ModelError`, before any weight is touched,
    where the masks are not exactly those of this model's projections.
    """
    linears = projections(model)
    _check_fit(linears, masks)
    removed: list[tuple[Tensor, Tensor, Tensor]] = []
    try:
        for name, linear in linears.items():
            weight = linear.weight.data
            where = masks[name].to(weight.device)
            removed.append((weight, where, weight[where]))
            weight[where] = 0
        yield
    finally:
        for weight, where, values in removed:
            weight[where] = values


def _check_fit(linears: Mapping[str, nn.Linear], masks: Mapping[str, Tensor]) -> None:
    if linears.keys() != masks.keys():
        unlike = sorted(linears.keys() ^ masks.keys())
        raise ModelError(
            f"the masks are of another model: {len(unlike)} matrices are in only one of the two, "
            f"such as {unlike[0]}; run the stage `probe` on this pair"
        )
    for name, linear in linears.items():
        if masks[name].shape != linear.weight.shape:
            raise ModelError(
                f"the masks are of another model: {name} is {tuple(linear.weight.shape)}, its mask "
                f"{tuple(masks[name].shape)}; run the stage `probe` on this pair"
            )
