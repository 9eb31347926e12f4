"""Random masks of the same size, to tell what the choice of weights does from what pruning does.

Uniform ones alone are too easy a comparison: the set difference takes large weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from components.lm.masks import PackedMask, projections
from components.probe.result import Scope

FIRST_BIN, GROWTH = 16, 1.25  # weights in the bin of the largest; how much larger the next edge is


def uniform_masks(
    masks: Mapping[str, PackedMask], *, scope: Scope, generator: np.random.Generator
) -> dict[str, PackedMask]:
    """Return masks of as many weights of every matrix, or of each of its rows, each weight as
    likely as any other."""
    drawn = {}
    for name, mask in masks.items():
        rows = mask.unpacked() if scope == "row" else mask.unpacked().reshape(1, -1)
        chosen = np.zeros(rows.shape, dtype=bool)
        for row, count in zip(chosen, rows.sum(1).tolist(), strict=True):
            row[generator.choice(len(row), count, replace=False)] = True
        drawn[name] = PackedMask.of(torch.from_numpy(chosen).reshape(mask.shape))
    return drawn


def matched_masks(
    model: nn.Module, masks: Mapping[str, PackedMask], *, generator: np.random.Generator
) -> dict[str, PackedMask]:
    """Return masks of as many weights of every matrix, alike in magnitude.

    Rows take no part, those of masks per row neither: among the few largest of a row no other is
    as large.
    """
    return {
        name: PackedMask.of(
            match_magnitudes(linear.weight.detach(), masks[name].unpacked(), generator=generator)
        )
        for name, linear in projections(model).items()
    }


def match_magnitudes(weight: Tensor, mask: Tensor, *, generator: np.random.Generator) -> Tensor:
    """Return a random boolean mask with as many weights as `mask` in every bin of magnitude.

    Bins are of |W|'s rank in the matrix, each edge a quarter further down than the one before, so
    that they are finest where the largest weights are. A weight of `mask` itself is drawn only
    where its bin has no others left.
    """
    # Ranked in bfloat16, most checkpoints' own precision: 16 bits are sorted ten times faster.
    keys = weight.abs().to(torch.bfloat16).view(torch.int16).flatten().cpu().numpy()
    order = np.argsort(-keys, kind="stable")
    masked = mask.flatten().numpy()[order]
    chosen = np.zeros_like(masked)
    for start, stop in pairwise(bin_edges(len(order))):
        own, others = (start + np.flatnonzero(masked[start:stop] == is_own) for is_own in (1, 0))
        drawn = generator.choice(others, min(len(own), len(others)), replace=False)
        chosen[drawn] = True
        chosen[generator.choice(own, len(own) - len(drawn), replace=False)] = True
    result = np.zeros_like(chosen)
    result[order] = chosen
    return torch.from_numpy(result).reshape(mask.shape)


def bin_edges(n: int) -> list[int]:
    """Return the ranks at which the bins of n weights begin, 0 = largest, and n."""
    edges, edge = [0], float(FIRST_BIN)
    while edge < n:
        edges.append(int(edge))
        edge *= GROWTH
    return [*edges, n]
