"""Wanda scores: how much a weight matters for a set of answers.

`S[o, i] = |W[o, i]| * ||X[:, i]||_2` (Sun et al. 2023, arXiv 2306.11695, equation 1), where X holds
the inputs of the layer at response tokens only (Wei et al. 2024, arXiv 2402.05162, section 3).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from components.core.errors import DataError, ModelError
from components.lm.batches import by_length, pad_left, positions_of
from components.lm.masks import projections
from components.lm.states import backbone

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A prompt and its answer, as token ids."""

    prompt: list[int]
    response: list[int]


@torch.inference_mode()
def input_norms(
    model: PreTrainedModel, exchanges: Sequence[Exchange], *, pad: int, batch: int
) -> dict[str, Tensor]:
    """Return `||X[:, i]||_2` of each projection's inputs: name -> (input,), float64 on the CPU.

    One streaming pass: only the sums of squares are kept. Prompt tokens and padding do not count.
    Raises `DataError` without any response token, `ModelError` where an input is not finite.
    """
    if not any(exchange.response for exchange in exchanges):
        raise DataError("a calibration set has no response tokens; check the prompts it is made of")
    sequences = [[*exchange.prompt, *exchange.response] for exchange in exchanges]
    device = next(model.parameters()).device
    done = 0
    with _accumulated(model) as (squares, select):
        for rows in by_length(sequences, batch):
            ids, mask = pad_left([sequences[i] for i in rows], pad)
            select(response_mask([exchanges[i] for i in rows], ids.shape[1]).to(device))
            backbone(model)(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                position_ids=positions_of(mask).to(device),
                use_cache=False,
            )
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


@contextmanager
def _accumulated(model: nn.Module) -> Iterator[tuple[dict[str, Tensor], Callable[[Tensor], None]]]:
    """Yield the growing sums of squares, name -> (input,), and how to set the batch's mask."""
    squares: dict[str, Tensor] = {}
    chosen: list[Tensor] = []
    handles = []

    def select(mask: Tensor) -> None:
        chosen[:] = [mask]

    for name, linear in projections(model).items():
        squares[name] = torch.zeros(linear.in_features, dtype=torch.float64)

        def add(_module: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
            # Summed in single precision within a batch, since not every device has double.
            batch = inputs[0][chosen[0]].float().square().sum(dim=0)
            squares[name] += batch.cpu().double()

        handles.append(linear.register_forward_pre_hook(add))
    try:
        yield squares, select
    finally:
        for handle in handles:
            handle.remove()
