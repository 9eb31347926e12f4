"""Random masks of the same size, to tell what the choice of weights does from what pruning does.

Uniform ones alone are too easy a comparison: the set difference takes large weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from components.config import Scope
from components.lm.masks import PackedMask, projections

FIRST_BIN, GROWTH = 16, 1.25  # weights in the bin of the largest; how much larger the next edge is


def uniform_masks(
    masks: Mapping[str, PackedMask], *, scope: Scope, generator: np.random.Generator
) -> dict[str, PackedMask]:
    """Return masks of as many weights of every matrix, or of each of its rows, each as likely as
    any other."""
    draw = partial(draw_as_many, generator=generator)
    return {name: _in_groups(mask, scope, draw) for name, mask in masks.items()}


def matched_masks(
    model: nn.Module,
    masks: Mapping[str, PackedMask],
    *,
    scope: Scope,
    generator: np.random.Generator,
) -> dict[str, PackedMask]:
    """Return masks of as many weights of every matrix, or of each of its rows, alike in
    magnitude."""
    drawn = {}
    for name, linear in projections(model).items():
        weight = _groups(linear.weight.detach(), scope)
        draw = partial(match_magnitudes, weight, generator=generator)
        drawn[name] = _in_groups(masks[name], scope, draw)
    return drawn


def draw_as_many(mask: Tensor, *, generator: np.random.Generator) -> Tensor:
    """Return a random boolean mask with as many weights in every row as `mask`."""
    return torch.from_numpy(_drawn(mask.sum(1).numpy(), generator.random(mask.shape, np.float32)))


def match_magnitudes(weight: Tensor, mask: Tensor, *, generator: np.random.Generator) -> Tensor:
    """Return a random boolean mask with as many weights as `mask` in every bin of every row.

    `weight` and `mask` are (group, weight). Bins are of |W|'s rank in its row, each edge a quarter
    further down than the one before, so that they are finest where the largest weights are. A
    weight of `mask` itself is drawn only where its bin has no others left.
    """
    # Ranked in bfloat16, most checkpoints' own precision: 16 bits are sorted ten times faster.
    keys = weight.abs().to(torch.bfloat16).view(torch.int16).cpu().numpy()
    order = np.argsort(-keys, axis=1, kind="stable")
    masked = np.take_along_axis(mask.numpy(), order, axis=1)
    chosen = np.zeros_like(masked)
    for start, stop in pairwise(bin_edges(order.shape[1])):
        own = masked[:, start:stop]
        chosen[:, start:stop] = _drawn(own.sum(1), generator.random(own.shape, np.float32) + own)
    result = np.zeros_like(chosen)
    np.put_along_axis(result, order, chosen, axis=1)
    return torch.from_numpy(result)


def _drawn(counts: np.ndarray, luck: np.ndarray) -> np.ndarray:
    """Return which places of each row of `luck` are among its `counts` smallest."""
    chosen = np.zeros(luck.shape, dtype=bool)
    places = np.argsort(luck, axis=1, kind="stable")
    np.put_along_axis(chosen, places, np.arange(luck.shape[1]) < counts[:, None], axis=1)
    return chosen


def _groups(matrix: Tensor, scope: Scope) -> Tensor:
    """Return a matrix as (group, weight): one group, or its rows."""
    return matrix.flatten()[None] if scope == "matrix" else matrix


def _in_groups(mask: PackedMask, scope: Scope, draw: Callable[[Tensor], Tensor]) -> PackedMask:
    """Return what `draw` makes of the groups of a mask, as a mask of its shape."""
    return PackedMask.of(draw(_groups(mask.unpacked(), scope)).reshape(mask.shape))


def bin_edges(n: int) -> list[int]:
    """Return the ranks at which the bins of n weights begin, 0 = largest, and n."""
    edges, edge = [0], float(FIRST_BIN)
    while edge < n:
        edges.append(int(edge))
        edge *= GROWTH
    return [*edges, n]
