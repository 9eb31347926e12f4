"""Hidden states of a decoder, by hooks.

Layer k in 1 ... L is the output of decoder block k, as `hidden_states[k]` of transformers; so the
last layer, L, is read after the final norm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from components.core.errors import ModelError
from components.lm.batches import by_length, pad_left, positions_of
from components.lm.finite import check_finite

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def backbone(model: Any) -> Any:
    """Return the decoder below the LM head, through a PEFT wrapper where there is one.

    Raises `ModelError` for an architecture without `.model.layers` and `.model.norm`.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    decoder = getattr(inner, "model", None)
    if decoder is None or not hasattr(decoder, "layers") or not hasattr(decoder, "norm"):
        raise ModelError(
            f"{type(inner).__name__} is not supported: no decoder blocks at model.layers with a "
            "final model.norm"
        )
    return decoder


@contextmanager
def captured_states(model: nn.Module, layers: Sequence[int]) -> Iterator[dict[int, Tensor]]:
    """Yield a mapping that each forward pass fills: layer -> states (batch, position, hidden)."""
    decoder = backbone(model)
    depth = decoder.config.num_hidden_layers
    states: dict[int, Tensor] = {}

    def keep(layer: int, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        states[layer] = output

    with ExitStack() as hooks:
        for layer in layers:
            if not 1 <= layer <= depth:
                raise ModelError(f"layer {layer} is not there: the model has layers 1 to {depth}")
            module = _module(decoder, layer)
            hooks.callback(module.register_forward_hook(partial(keep, layer)).remove)
        yield states


def _module(decoder: Any, layer: int) -> nn.Module:
    """Return the module whose output is the state of decoder layer `layer`."""
    last = layer == decoder.config.num_hidden_layers
    found: nn.Module = decoder.norm if last else decoder.layers[layer - 1]
    return found


@contextmanager
def changed_states(
    model: nn.Module, layer: int, change: Callable[[Tensor], Tensor]
) -> Iterator[None]:
    """Put what `change` returns in the place of the states (batch, position, hidden) of `layer` in
    every forward pass within the block."""

    def replace(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return change(output)

    hook = _module(backbone(model), layer).register_forward_hook(replace)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def truncated(model: nn.Module, layer: int) -> Iterator[None]:
    """Let forward passes within the block end at decoder block `layer`.

    Captured states up to there are the whole model's, bit for bit; what it returns is not.
    """
    decoder = backbone(model)
    blocks = decoder.layers
    decoder.layers = blocks[:layer]
    try:
        yield
    finally:
        decoder.layers = blocks


def hidden_states(
    model: nn.Module, ids: Tensor, layers: Sequence[int], *, wrapped: nn.Module | None = None
) -> list[Tensor]:
    """Return one tensor (batch, position, hidden) a layer, up to the deepest and no further.

    `ids` are padded on the right: under the causal mask no real position sees the padding, so no
    attention mask is needed and the fast attention kernels apply. `wrapped` runs in the model's
    place where it was prepared for several processes (DDP, FSDP). The head is asked for no
    position.
    """
    nowhere = ids.new_empty(0)
    with truncated(model, max(layers)), captured_states(model, layers) as states:
        (wrapped or model)(input_ids=ids, logits_to_keep=nowhere, use_cache=False)
    return [states[layer] for layer in layers]


def states_and_logits(
    model: nn.Module,
    ids: Tensor,
    layers: Sequence[int],
    *,
    at: Tensor,
    wrapped: nn.Module | None = None,
) -> tuple[list[Tensor], Tensor]:
    """Return what `hidden_states` does, and the logits (position, vocabulary) where the mask `at`
    (batch, position) is true, of one pass through the whole model."""
    with captured_states(model, layers) as states:
        written = (wrapped or model)(input_ids=ids, logits_to_keep=at, use_cache=False)
    return [states[layer] for layer in layers], written.logits


def padded_batches(
    model: nn.Module, sequences: Sequence[Sequence[int]], *, pad: int, batch: int
) -> Iterator[tuple[list[int], dict[str, Any]]]:
    """Yield batches of similar length: the places of their sequences, and the arguments of a
    forward pass of the decoder on them, padded on the left."""
    device = next(model.parameters()).device
    for rows in by_length(sequences, batch):
        ids, mask = pad_left([sequences[i] for i in rows], pad)
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions_of(mask)}
        yield rows, {k: v.to(device) for k, v in inputs.items()} | {"use_cache": False}


@torch.inference_mode()
def states_from_end(
    model: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    *,
    layers: Sequence[int],
    pad: int,
    batch: int,
    last: int = 1,
) -> Tensor:
    """Return the states at the last `last` positions: (sequence, position, layer, hidden), fp32.

    Positions run forward, the sequence's last token last. Raises `ModelError` for a sequence
    shorter than `last`, and for states that are not finite.
    """
    if any(len(sequence) < last for sequence in sequences):
        raise ModelError(f"a sequence is shorter than the {last} positions asked for")
    hidden = model.config.hidden_size
    result = torch.empty(len(sequences), last, len(layers), hidden)
    with truncated(model, max(layers)), captured_states(model, layers) as states:
        for rows, inputs in padded_batches(model, sequences, pad=pad, batch=batch):
            backbone(model)(**inputs)
            stacked = torch.stack([states[layer][:, -last:] for layer in layers], dim=2)
            check_finite("hidden states", stacked)
            result[rows] = stacked.float().cpu()
    return result
