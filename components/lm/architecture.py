"""Whether a model is one that this project can mask, adapt, read and ablate, told before it is
loaded: the model is built without memory, and one pass without numbers shows what each part of a
block reads, and who wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.utils import logging as messages

from components.core.errors import ModelError
from components.lm.configuration import model_class, read_config, refusing
from components.lm.masks import PATHS, PROJECTIONS, projection_of, projections
from components.lm.states import backbone
from components.lm.weights import check_report, refuse_adapter, stored_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_LENGTH = 3  # tokens of the pass


def outline(folder: Path) -> PreTrainedModel:
    """Return the causal language model in `folder` on the meta device: shapes without numbers.

    transformers' own loader is given the files' headers, so that every rule of its own about
    renamed, converted, tied and ignorable weights applies. Raises `ModelError` where the folder's
    settings or weights are broken, or are not those of one model.
    """
    refuse_adapter(folder)
    config = read_config(folder)
    stored = stored_weights(folder)
    with silenced(), refusing(f"{folder}: config.json describes no model that can be built"):
        model, report = model_class(config).from_pretrained(
            None,
            config=config,
            state_dict=stored,
            dtype=torch.float32,
            device_map={"": "meta"},
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    check_report(str(folder), report)
    return model


@contextmanager
def silenced() -> Iterator[None]:
    """Keep transformers' own report of a loading from the screen; what counts in it is raised."""
    before, bar = messages.get_verbosity(), messages.is_progress_bar_enabled()
    messages.set_verbosity(messages.CRITICAL)
    messages.disable_progress_bar()
    try:
        yield
    finally:
        messages.set_verbosity(before)
        if bar:
            messages.enable_progress_bar()


def check_supported(model: PreTrainedModel) -> None:
    """Raise `ModelError` unless masks, adapters, hidden states and ablation fit the `model`.

    Every decoder block must have the seven projections once, as plain linear layers under their
    usual paths, and no other matrix: then masks and LoRA cover the same and all. One pass must go
    through the blocks in their order, each reading the stream that the one before has written.
    `model` may be on the meta device.
    """
    name = type(model).__name__
    for number, block in enumerate(backbone(model).layers, start=1):
        matrices = [path for path, weight in block.named_parameters() if weight.dim() > 1]
        if others := [path for path in matrices if path.rpartition(".")[0] not in PATHS]:
            kind = "is a mixture of experts: it has" if "expert" in str(others) else "has"
            raise ModelError(
                f"decoder block {number} of {name} is not supported: it {kind} weights that "
                f"neither masks nor an adapter would cover, such as {', '.join(others[:3])}; see "
                "docs/models.md"
            )
    covered = {*projections(model).values()}
    named = [(p, module) for p, module in model.named_modules() if projection_of(p) in PROJECTIONS]
    if elsewhere := [path for path, module in named if module not in covered]:
        raise ModelError(
            f"{name} is not supported: {len(elsewhere)} projections lie outside the decoder "
            f"blocks, such as {elsewhere[0]}, where an adapter would reach and masks would not"
        )
    length = getattr(model.config, "max_position_embeddings", None)
    if type(length) is not int or length < 1:
        raise ModelError(f"{name} is not supported: max_position_embeddings is {length!r}")
    with refusing(f"{name} is not supported: a pass through its decoder cannot be followed"):
        mlp_readers(model)


def mlp_readers(model: nn.Module) -> list[nn.Module]:
    """Return, for each block, the module through which its MLP reads the residual stream.

    That is the norm before the MLP; in a block that normalises what it writes instead (OLMo 2,
    EXAONE 4), the MLP itself. Raises `ModelError` where blocks do not run one after another on one
    stream of states (batch, position, hidden), a projection does not run once in each, or
    attention and MLP read something else than that stream.
    """
    decoder = backbone(model)
    run = _Pass(model, decoder)
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


def _mlp_reader(run: _Pass, block: Any, number: int) -> nn.Module:
    calls = [call for call in run.calls if call.module in {*block.children()}]
    attention, mlp = run.of(block.self_attn), run.of(block.mlp)
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


def _has_shape(states: object, shape: tuple[int, ...]) -> bool:
    return isinstance(states, Tensor) and tuple(states.shape) == shape


@dataclass(frozen=True, slots=True)
class _Call:
    """What a module read and wrote in the pass, and whether it read its first argument."""

    module: nn.Module
    read: Any
    written: Any
    positional: bool


class _Pass:
    """One pass of a whole model over three tokens: the calls of its norm, blocks, their parts and
    projections, in the order in which they ended.

    Two tensors that are the same object are the same stream, so the pass needs no numbers and a
    model on the meta device will do.
    """

    @torch.no_grad()
    def __init__(self, model: nn.Module, decoder: Any) -> None:
        self.name, self.calls = type(model).__name__, list[_Call]()
        followed = [decoder.norm, *decoder.layers, *projections(model).values()]
        followed += [child for block in decoder.layers for child in block.children()]
        weight = next(decoder.layers[0].parameters())
        ids = torch.ones(1, _LENGTH, dtype=torch.long, device=weight.device)
        # A mask of four axes is taken as it is; to make one, transformers looks at numbers.
        mask = torch.zeros(1, 1, _LENGTH, _LENGTH, dtype=weight.dtype, device=weight.device)
        nowhere = ids.new_empty(0)
        with ExitStack() as hooks:
            for part in followed:
                hooks.callback(part.register_forward_hook(self._record, with_kwargs=True).remove)
            model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=nowhere)

    def _record(
        self, module: nn.Module, args: tuple[Any, ...], named: dict[str, Any], output: Any
    ) -> None:
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

    def error(self, what: str) -> ModelError:
        """Return the error that says why the model is not supported."""
        return ModelError(f"{self.name} is not supported: {what}; see docs/models.md")
