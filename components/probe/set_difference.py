"""The weights that matter for reasoning and not for safety.

Wanda score of a weight on a set of answers: `S[o, i] = |W[o, i]| * ||X[:, i]||_2` (Sun et al. 2023,
arXiv 2306.11695, equation 1), where X holds the inputs of the layer at response tokens only. Set
difference: the top share by the reasoning score minus the top share by the safety score. Both: Wei
et al. 2024, arXiv 2402.05162, section 3.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from components.core.errors import DataError, ModelError
from components.lm.masks import PROJECTIONS, PackedMask, projection_of, projections
from components.lm.states import backbone, padded_batches
from components.probe.answers import Exchange
from components.probe.result import MaskSize, Scope

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)


@torch.inference_mode()
def input_norms(
    model: PreTrainedModel, exchanges: Sequence[Exchange], *, pad: int, batch: int
) -> dict[str, Tensor]:
    """Return `||X[:, i]||_2` of each projection's inputs: name -> (input,), float64 on the CPU.

    One streaming pass: only the sums of squares are held. Prompt tokens and padding do not count.
    Raises `DataError` without any response token, `ModelError` where an input is not finite.
    """
    if not any(exchange.response for exchange in exchanges):
        raise DataError("a calibration set has no response tokens; check the prompts it is made of")
    sequences = [[*exchange.prompt, *exchange.response] for exchange in exchanges]
    linears, responses, done = projections(model), list[Tensor](), 0
    squares = {n: torch.zeros(m.in_features, dtype=torch.float64) for n, m in linears.items()}

    def add(name: str, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        # Summed in single precision within a batch, since not every device has double.
        squares[name] += inputs[0][responses[-1]].float().square().sum(dim=0).cpu().double()

    with ExitStack() as hooks:
        for name, linear in linears.items():
            hooks.enter_context(linear.register_forward_pre_hook(partial(add, name)))
        for rows, batched in padded_batches(model, sequences, pad=pad, batch=batch):
            ids = batched["input_ids"]
            mask = response_mask([exchanges[i] for i in rows], ids.shape[1])
            responses[:] = [mask.to(ids.device)]
            backbone(model)(**batched)
            done += len(rows)
            log.info("norms of inputs %d/%d", done, len(exchanges))
    for name, square in squares.items():
        if not square.isfinite().all():
            raise ModelError(f"inputs of {name} are not finite; the checkpoint is broken")
    return {name: square.sqrt() for name, square in squares.items()}


def response_mask(exchanges: Sequence[Exchange], width: int) -> Tensor:
    """Return where the responses lie in a left-padded batch: (batch, position), boolean."""
    lengths = torch.tensor([len(exchange.response) for exchange in exchanges])
    return torch.arange(width)[None, :] >= width - lengths[:, None]


def scores(weight: Tensor, norms: Tensor) -> Tensor:
    """Return the Wanda score of every weight: (output, input), fp32."""
    return weight.detach().float().abs() * norms.float().to(weight.device)


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
    counts = ("weights", "top", "shared", "removed")
    own = {kind: [size for size in sizes if size.projection == kind] for kind in PROJECTIONS}
    return tuple(
        MaskSize(projection=kind, **{n: sum(getattr(s, n) for s in found) for n in counts})
        for kind, found in own.items()
    )
