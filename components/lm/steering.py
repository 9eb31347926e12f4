"""Steering: a vector added to the residual stream, at every position or for some prompts alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from components.lm.engines.protocol import Engine, Groups, Request
from components.lm.states import backbone


@contextmanager
def added(model: nn.Module, layer: int, vector: Tensor) -> Iterator[None]:
    """Add `vector` (hidden,) to what decoder block `layer`, 1 = first, writes, at every position,
    within the block (activation addition: Arditi et al. 2024, arXiv 2406.11717, section 2.4)."""
    block: Any = backbone(model).layers[layer - 1]

    def after(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return output + vector.to(output)

    hook = block.register_forward_hook(after)
    try:
        yield
    finally:
        hook.remove()


def steered(
    engine: Engine,
    model: nn.Module,
    layer: int,
    vector: Tensor,
    where: Callable[[Sequence[Request]], Sequence[bool]],
) -> Engine:
    """Return the engine of `model` with `vector` added for the requests `where` that holds
    (conditional steering: Lee et al. 2024, arXiv 2409.05907)."""

    def write(requests: Sequence[Request]) -> Groups:
        holds = where(requests)
        for wanted in (True, False):
            chosen = [i for i, held in enumerate(holds) if held is wanted]
            with added(model, layer, vector) if wanted else nullcontext():
                for group in engine.write([requests[i] for i in chosen]) if chosen else ():
                    yield {chosen[i]: samples for i, samples in group.items()}

    return replace(engine, write=write)
