"""Directional ablation: a model that can no longer write one direction into its residual stream."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from components.core.errors import ModelError
from components.lm.architecture import mlp_readers
from components.lm.states import backbone


def project_out(states: Tensor, direction: Tensor) -> Tensor:
    """Return `states` (..., hidden) without their component along the unit `direction` (hidden,).

    x - r (r . x): Arditi et al. 2024 (arXiv 2406.11717), section 2.4. Computed in single precision
    and returned in the states' own.
    """
    exact = states.float()
    return (exact - (exact @ direction)[..., None] * direction).to(states.dtype)


@contextmanager
def ablated(model: nn.Module, direction: Tensor) -> Iterator[None]:
    """Take the `direction` (hidden,), of any length, out of the residual stream within the block.

    As in the paper, at every position, before and after every attention and every MLP, and where
    the final norm reads. Within a block the hook stands on what the MLP reads; what attention wrote
    along the direction leaves the stream at the block's end. Raises `ModelError` for what is no
    direction of the model's width.
    """
    decoder = backbone(model)
    unit = _unit(direction, decoder.config.hidden_size).to(next(model.parameters()).device)

    def before(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        states, *rest = inputs
        return (project_out(states, unit), *rest)

    def after(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return project_out(output, unit)

    blocks = list(decoder.layers)
    with ExitStack() as hooks:
        for reader in (blocks[0], *mlp_readers(model)):
            hooks.callback(reader.register_forward_pre_hook(before).remove)
        for block in blocks:
            hooks.callback(block.register_forward_hook(after).remove)
        yield


def _unit(direction: Tensor, hidden: int) -> Tensor:
    length = direction.float().norm()
    if direction.shape != (hidden,) or not torch.isfinite(length) or length == 0:
        raise ModelError(
            f"a direction to ablate must be a vector of {hidden} finite numbers, not all 0; "
            f"this one has the shape {tuple(direction.shape)} and the length {length.item():g}"
        )
    return direction.float() / length
