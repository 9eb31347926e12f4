"""The weights that matter for reasoning and not for safety (Wei et al. 2024, arXiv 2402.05162,
section 3): the top share by the reasoning score minus the top share by the safety score.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from components.lm.masks import PROJECTIONS, PackedMask, projection_of, projections
from components.probe.result import MaskSize, Scope
from components.probe.wanda import scores

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MatrixSize:
    """What is taken from one matrix, in weights; see `MaskSize`."""

    layer: int  # 1 = first
    projection: str
    weights: int
    top: int
    shared: int
    removed: int


@dataclass(frozen=True, slots=True)
class SetDifference:
    """The masks of one share and scope, by matrix name, and their sizes in the same order."""

    masks: dict[str, PackedMask]
    sizes: tuple[MatrixSize, ...]

    @property
    def removed(self) -> int:
        """Weights removed from all matrices together."""
        return sum(size.removed for size in self.sizes)

    @property
    def weights(self) -> int:
        """Weights of all matrices together."""
        return sum(size.weights for size in self.sizes)


def top_share(score: Tensor, share: float, scope: Scope) -> Tensor:
    """Return where the highest scores of a matrix (output, input) lie: boolean, of its shape.

    `matrix`: the `int(share * n)` highest of all n. `row`: the `int(share * inputs)` highest of
    every row, as Wanda compares weights (Sun et al. 2023, arXiv 2306.11695, section 3). Exactly so
    many: among equal scores those that come first, row by row, are taken.
    """
    rows = score.reshape(1, -1) if scope == "matrix" else score
    count = int(share * rows.shape[1])
    if count == 0:
        return torch.zeros_like(score, dtype=torch.bool)
    threshold = rows.topk(count, dim=1, sorted=False).values.amin(dim=1, keepdim=True)
    chosen, ties = rows > threshold, rows == threshold
    free = count - chosen.sum(dim=1, keepdim=True)
    chosen |= ties & (ties.cumsum(dim=1, dtype=torch.int32) <= free)
    return chosen.reshape(score.shape)


@torch.inference_mode()
def build_masks(
    model: nn.Module,
    *,
    reasoning: Mapping[str, Tensor],
    safety: Mapping[str, Tensor],
    share: float,
    kept: float,
    scope: Scope,
) -> SetDifference:
    """Return the weights to remove from every projection.

    `reasoning` and `safety` are the norms of the projections' inputs on the two calibration sets.
    Of the top `share` by the reasoning score, what is among the top `kept` by the safety score
    stays. One matrix at a time is unpacked.
    """
    masks, sizes = {}, []
    for name, linear in projections(model).items():
        remove, keep = (
            top_share(scores(linear.weight, norms[name]), top, scope)
            for norms, top in ((reasoning, share), (safety, kept))
        )
        masks[name] = PackedMask.of(remove & ~keep)
        top, removed = int(remove.sum()), masks[name].removed
        layer = int(name.split(".")[1]) + 1
        kind, weights = projection_of(name), masks[name].weights
        sizes.append(MatrixSize(layer, kind, weights, top, top - removed, removed))
    found = SetDifference(masks, tuple(sizes))
    log.info(
        "set difference, the top %g %% without the top %g %% per %s: %d of %d weights (%.3f %%)",
        100 * share,
        100 * kept,
        scope,
        found.removed,
        found.weights,
        100 * found.removed / found.weights,
    )
    return found


def mask_sizes(sizes: Sequence[MatrixSize]) -> tuple[MaskSize, ...]:
    """Return the sizes of each kind of projection over all layers."""
    totals = []
    for kind in PROJECTIONS:
        own = [size for size in sizes if size.projection == kind]
        totals.append(
            MaskSize(
                projection=kind,
                weights=sum(size.weights for size in own),
                top=sum(size.top for size in own),
                shared=sum(size.shared for size in own),
                removed=sum(size.removed for size in own),
            )
        )
    return tuple(totals)
