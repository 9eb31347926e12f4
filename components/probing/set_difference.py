"""The weights that matter for reasoning and not for safety (Wei et al. 2024, arXiv 2402.05162,
section 3): per matrix, the top share by the reasoning score minus the top share by the safety one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from components.lm.masks import PROJECTIONS, projection_of, projections
from components.probing.wanda import scores
from components.results import MaskSize

log = logging.getLogger(__name__)


def top_share(score: Tensor, share: float) -> Tensor:
    """Return where the `int(share * n)` highest of the n scores lie: boolean, of their shape.

    Exactly so many: among equal scores those that come first, row by row, are taken.
    """
    flat = score.flatten()
    count = int(share * flat.numel())
    if count == 0:
        return torch.zeros_like(score, dtype=torch.bool)
    threshold = flat.kthvalue(flat.numel() - count + 1).values
    chosen = flat > threshold
    ties = (flat == threshold).nonzero()[:, 0]
    chosen[ties[: count - int(chosen.sum())]] = True
    return chosen.reshape(score.shape)


def set_difference(remove: Tensor, keep: Tensor, *, q: float, p: float) -> Tensor:
    """Return the top `q` share by the scores `remove` without the top `p` share by `keep`.

    Scores and result are (output, input).
    """
    return top_share(remove, q) & ~top_share(keep, p)


@torch.inference_mode()
def build_masks(
    model: nn.Module,
    *,
    reasoning: Mapping[str, Tensor],
    safety: Mapping[str, Tensor],
    q: float,
    p: float,
) -> dict[str, Tensor]:
    """Return the mask of weights to remove of every projection: name -> (output, input), boolean.

    `reasoning` and `safety` are the norms of the projections' inputs on the two calibration sets.
    """
    masks = {}
    for name, linear in projections(model).items():
        remove, keep = (scores(linear.weight, norms[name]) for norms in (reasoning, safety))
        masks[name] = set_difference(remove, keep, q=q, p=p).cpu()
    sizes = mask_sizes(masks)
    removed, weights = sum(s.removed for s in sizes), sum(s.weights for s in sizes)
    log.info(
        "set difference: %d of %d weights (%.3f %%)", removed, weights, 100 * removed / weights
    )
    return masks


def mask_sizes(masks: Mapping[str, Tensor]) -> tuple[MaskSize, ...]:
    """Return weights and removed weights of each kind of projection over all layers."""
    sizes = []
    for kind in PROJECTIONS:
        own = [mask for name, mask in masks.items() if projection_of(name) == kind]
        sizes.append(
            MaskSize(
                projection=kind,
                weights=sum(mask.numel() for mask in own),
                removed=sum(int(mask.sum()) for mask in own),
            )
        )
    return tuple(sizes)
