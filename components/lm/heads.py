"""Attention heads: what each writes along a direction, and a model without some of them.

A head is the slice of columns of o_proj that reads its output: heads x head_dim columns, one slice
a query head, whatever keys and values are shared. The bias of o_proj belongs to no head.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from components.core.errors import ModelError
from components.lm.states import backbone, padded_batches

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Head(NamedTuple):
    """A query head's place."""

    layer: int  # 1 = first
    head: int  # 0 = first


@torch.inference_mode()
def head_contributions(
    model: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    direction: Tensor,
    *,
    pad: int,
    batch: int,
) -> Tensor:
    """Return what each head writes along the unit `direction` (hidden,) at the last position, the
    mean over the sequences: (layer, head), fp32.

    The sum over a layer's heads is the projection of what its o_proj writes, less its bias. Raises
    `ModelError` as `without_heads` does.
    """
    writers = _writers(model)
    sums = [torch.zeros(linear.in_features) for linear in writers]

    def add(layer: int, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        sums[layer] += inputs[0][:, -1].float().sum(dim=0).cpu()

    with ExitStack() as hooks:
        for layer, linear in enumerate(writers):
            hooks.callback(linear.register_forward_pre_hook(partial(add, layer)).remove)
        for _, inputs in padded_batches(model, sequences, pad=pad, batch=batch):
            backbone(model)(**inputs)
    heads = model.config.num_attention_heads
    rows = [
        (total / len(sequences) * (direction.float() @ linear.weight.float().cpu()))
        for total, linear in zip(sums, writers, strict=True)
    ]
    return torch.stack([row.view(heads, -1).sum(dim=1) for row in rows])


@contextmanager
def without_heads(model: PreTrainedModel, heads: Iterable[Head]) -> Iterator[None]:
    """Let these heads write nothing within the block; the weights are then as before, bit for bit.

    Raises `ModelError` for an architecture whose o_proj does not read one slice a head.
    """
    writers, count = _writers(model), model.config.num_attention_heads
    kept: list[tuple[Tensor, Tensor]] = []
    try:
        for layer, head in heads:
            linear = writers[layer - 1]
            width = linear.in_features // count
            columns = linear.weight.data[:, head * width : (head + 1) * width]
            kept.append((columns, columns.clone()))
            columns.zero_()
        yield
    finally:
        for columns, before in reversed(kept):
            columns.copy_(before)


def _writers(model: PreTrainedModel) -> list[nn.Linear]:
    """Return the o_proj of every block."""
    config, writers = model.config, []
    count = getattr(config, "num_attention_heads", None)
    for layer, block in enumerate(backbone(model).layers, start=1):
        attention: Any = getattr(block, "self_attn", None)
        linear = getattr(attention, "o_proj", None)
        width = getattr(attention, "head_dim", None) or getattr(config, "head_dim", None)
        if not isinstance(linear, nn.Linear) or not isinstance(count, int):
            raise ModelError(
                f"{type(model).__name__} is not supported: block {layer} has no linear layer "
                "self_attn.o_proj that reads the heads of num_attention_heads"
            )
        width = width or config.hidden_size // count
        if linear.in_features != count * width:
            raise ModelError(
                f"{type(model).__name__} is not supported: o_proj of block {layer} reads "
                f"{linear.in_features} numbers, not {count} heads of {width}"
            )
        writers.append(linear)
    return writers
