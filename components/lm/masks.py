"""Masks of weights to remove: which matrices they cover, how they lie on disk, how they act."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from components.core.errors import ModelError, StageError
from components.core.storage import atomic_path
from components.lm.states import backbone

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# Where they lie in a decoder block.
PATHS = {f"{'self_attn' if name in PROJECTIONS[:4] else 'mlp'}.{name}" for name in PROJECTIONS}
_SHAPES = "shapes"  # the key of the metadata


def projections(model: nn.Module) -> dict[str, nn.Linear]:
    """Return the seven projections of every decoder block: name -> linear module.

    Names such as `layers.0.mlp.up_proj` are relative to the decoder and alike with and without a
    PEFT wrapper, whose base weights are meant. Raises `ModelError` for another architecture.
    """
    found: dict[str, nn.Linear] = {}
    for index, block in enumerate(backbone(model).layers):
        here = {
            path: getattr(module, "base_layer", module)
            for path, module in block.named_modules()
            if projection_of(path) in PROJECTIONS
        }
        if here.keys() != PATHS:
            raise ModelError(
                f"decoder block {index + 1} of {type(model).__name__} is not supported: its "
                f"projections are {', '.join(here) or 'none'}; each of {', '.join(sorted(PATHS))} "
                "must be there once, and no other"
            )
        for path, linear in here.items():
            found[name := f"layers.{index}.{path}"] = linear
            if not isinstance(linear, nn.Linear):
                raise ModelError(f"{name} is a {type(linear).__name__}, not a plain linear layer")
    return found


def block_widths(model: nn.Module) -> tuple[int, int, int, int]:
    """Return the widths of hidden states, MLP, queries and keys of the first decoder block."""
    first = {
        projection_of(n): m for n, m in projections(model).items() if n.startswith("layers.0.")
    }
    query, key, up = (first[name] for name in ("q_proj", "k_proj", "up_proj"))
    return query.in_features, up.out_features, query.out_features, key.out_features


def projection_of(name: str) -> str:
    """Return the kind of projection a matrix is, such as `up_proj`."""
    return name.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class PackedMask:
    """Which weights of one matrix to remove, a bit each: 0.8 GB for a model of 7B parameters.

    `bits` are bytes, eight weights each, row by row; the last byte is filled up with zeros.
    """

    bits: Tensor
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.bits.numel() != (self.weights + 7) // 8:
            raise StageError(
                f"a packed mask of shape {self.shape} cannot have {self.bits.numel()} bytes"
            )

    @classmethod
    def of(cls, mask: Tensor) -> PackedMask:
        """Return a boolean mask of any shape, packed."""
        return cls(torch.from_numpy(np.packbits(mask.cpu().numpy())), tuple(mask.shape))

    def unpacked(self) -> Tensor:
        """Return the boolean mask, on the CPU."""
        bits = np.unpackbits(self.bits.numpy(), count=self.weights)
        return torch.from_numpy(bits.view(bool)).reshape(self.shape)

    @property
    def weights(self) -> int:
        """How many weights the matrix has."""
        return math.prod(self.shape)

    @property
    def removed(self) -> int:
        """How many of them are to be removed."""
        return int(np.bitwise_count(self.bits.numpy()).sum())


def save_masks(path: Path, masks: Mapping[str, PackedMask]) -> None:
    """Write masks, by matrix name, as packed bits with their shapes as metadata."""
    # One metadata entry: safetensors does not keep several in a fixed order.
    shapes = json.dumps({name: list(masks[name].shape) for name in sorted(masks)})
    with atomic_path(path) as scratch:
        save_file({name: mask.bits for name, mask in masks.items()}, scratch, {_SHAPES: shapes})


def load_masks(path: Path) -> dict[str, PackedMask]:
    """Return the masks in `path`, by matrix name; raises `StageError` for a broken file."""
    try:
        with safe_open(path, framework="pt") as stored:
            shapes = json.loads((stored.metadata() or {})[_SHAPES])
            return {
                name: PackedMask(stored.get_tensor(name), tuple(shape))
                for name, shape in shapes.items()
            }
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise StageError(
            f"{path} cannot be read as masks ({error}); run the stage `probe` again"
        ) from error


@contextmanager
def pruned(model: nn.Module, masks: Mapping[str, PackedMask]) -> Iterator[None]:
    """Set the masked weights of `model` to zero within the block, and restore them bit by bit.

    Only the removed weights are kept aside. Raises `ModelError`, before any weight is touched,
    where the masks are not exactly those of this model's projections.
    """
    linears = projections(model)
    _check_fit(linears, masks)
    removed: dict[str, Tensor] = {}
    try:
        for name, linear in linears.items():
            weight = linear.weight.data
            where = masks[name].unpacked().to(weight.device)
            removed[name] = weight[where]
            weight[where] = 0
        yield
    finally:
        for name, values in removed.items():
            weight = linears[name].weight.data
            weight[masks[name].unpacked().to(weight.device)] = values


def _check_fit(linears: Mapping[str, nn.Linear], masks: Mapping[str, PackedMask]) -> None:
    own = {name: tuple(linear.weight.shape) for name, linear in linears.items()}
    given = {name: tuple(mask.shape) for name, mask in masks.items()}
    if unlike := sorted({name for name, _ in own.items() ^ given.items()}):
        name = unlike[0]
        raise ModelError(
            f"the masks are of another model: {len(unlike)} matrices differ, such as {name}, which "
            f"is {own.get(name, 'missing')}, and its mask is {given.get(name, 'missing')}; run the "
            "stage `probe` on this pair"
        )
