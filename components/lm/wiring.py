"""How a decoder's blocks are wired, read off one pass: what each part reads, and who wrote it.

Two tensors that are the same object are the same wire, so the pass needs no numbers and a model on
the meta device will do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from components.core.errors import ModelError
from components.lm.masks import projections
from components.lm.states import backbone

_LENGTH = 3  # tokens of the pass


@dataclass(frozen=True, slots=True)
class _Call:
    """What a module read and wrote in the pass, and whether it read its first argument."""

    module: nn.Module
    read: Any
    written: Any
    positional: bool


@dataclass(slots=True)
class _Pass:
    """The calls of the modules that were followed, in the order in which they ended."""

    model: str
    calls: list[_Call] = field(default_factory=list)

    def record(
        self, module: nn.Module, args: tuple[Any, ...], named: dict[str, Any], output: Any
    ) -> None:
        """Keep one call; a forward hook."""
        read = args[0] if args else named.get("hidden_states")
        written = output[0] if isinstance(output, tuple) else output
        self.calls.append(_Call(module, read, written, bool(args)))

    def of(self, module: nn.Module) -> _Call:
        """Return the one call of `module`; raises `ModelError` for none or several."""
        found = [call for call in self.calls if call.module is module]
        if len(found) != 1:
            kind = type(module).__name__
            raise self.error(f"a {kind} in it runs {len(found)} times in one pass, not once")
        return found[0]

    def within(self, block: nn.Module) -> list[_Call]:
        """Return the calls of the parts of a `block`."""
        parts = set(block.children())
        return [call for call in self.calls if call.module in parts]

    def error(self, what: str) -> ModelError:
        """Return the error that says why the model is not supported."""
        return ModelError(f"{self.model} is not supported: {what}; see docs/models.md")


@torch.no_grad()
def mlp_readers(model: nn.Module) -> list[nn.Module]:
    """Return, for each block, the module through which its MLP reads the residual stream.

    That is the norm before the MLP; in a block that normalises what it writes instead (OLMo 2,
    EXAONE 4), the MLP itself. Raises `ModelError` where blocks do not run one after another on one
    stream of states (batch, position, hidden), a projection does not run once in each, or
    attention and MLP read something else than that stream.
    """
    decoder = backbone(model)
    run = _followed(model, decoder)
    stream = run.of(decoder.layers[0]).read
    shape = (1, _LENGTH, decoder.config.hidden_size)
    for number, block in enumerate(decoder.layers, start=1):
        call = run.of(block)
        if call.read is not stream or not call.positional:
            raise run.error(f"block {number} does not read what the block before it wrote")
        if not (_has_shape(call.read, shape) and _has_shape(call.written, shape)):
            raise run.error(f"block {number} does not read and write states of shape {shape}")
        stream = call.written
    if run.of(decoder.norm).read is not stream:
        raise run.error("the final norm does not read what the last block wrote")
    for name, linear in projections(model).items():
        if not _has_shape(run.of(linear).read, (1, _LENGTH, linear.in_features)):
            raise run.error(f"{name} does not read one vector a position")
    return [_mlp_reader(run, block, n) for n, block in enumerate(decoder.layers, start=1)]


def _has_shape(states: object, shape: tuple[int, ...]) -> bool:
    return isinstance(states, Tensor) and tuple(states.shape) == shape


def _followed(model: nn.Module, decoder: Any) -> _Pass:
    """Return one pass of the whole model over three tokens."""
    run = _Pass(type(model).__name__)
    followed = [decoder.norm, *decoder.layers, *projections(model).values()]
    followed += [child for block in decoder.layers for child in block.children()]
    handles = [module.register_forward_hook(run.record, with_kwargs=True) for module in followed]
    weight = next(decoder.layers[0].parameters())
    ids = torch.ones(1, _LENGTH, dtype=torch.long, device=weight.device)
    # A mask of four axes is taken as it is; to make one, transformers looks at numbers.
    mask = torch.zeros(1, 1, _LENGTH, _LENGTH, dtype=weight.dtype, device=weight.device)
    nowhere = ids.new_empty(0)
    try:
        model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=nowhere)
    finally:
        for handle in handles:
            handle.remove()
    return run


def _mlp_reader(run: _Pass, block: Any, number: int) -> nn.Module:
    calls, attention, mlp = run.within(block), run.of(block.self_attn), run.of(block.mlp)
    writers = {id(call.written): call for call in reversed(calls)}
    before_attention = writers.get(id(attention.read))
    source = attention.read if before_attention is None else before_attention.read
    if source is not run.of(block).read:
        raise run.error(f"attention of block {number} does not read the residual stream")
    norm = writers.get(id(mlp.read))
    if norm is not None and norm.positional and id(norm.read) not in writers:
        return norm.module
    # Without a norm before the MLP, what it reads is the stream only if its norms come after.
    read = {id(call.read) for call in calls}
    if norm is None and mlp.positional and {id(attention.written), id(mlp.written)} <= read:
        return block.mlp
    raise run.error(f"how the MLP of block {number} reads the residual stream is not clear")
