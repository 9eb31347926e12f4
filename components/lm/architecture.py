"""Whether a model is one that this project can mask, adapt, read and ablate, told before it is
loaded: the model is built without memory, and one pass without numbers shows how it is wired."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers.utils import logging as messages

from components.core.errors import ModelError
from components.lm.completeness import check_report
from components.lm.configuration import model_class, read_config, refusing
from components.lm.masks import PATHS, PROJECTIONS, projection_of, projections
from components.lm.states import backbone
from components.lm.weights import refuse_adapter, stored_weights
from components.lm.wiring import mlp_readers

if TYPE_CHECKING:
    from transformers import PreTrainedModel


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
        _refuse_other_matrices(f"decoder block {number} of {name}", block)
    covered = {*projections(model).values()}
    elsewhere = [
        path
        for path, module in model.named_modules()
        if projection_of(path) in PROJECTIONS and module not in covered
    ]
    if elsewhere:
        raise ModelError(
            f"{name} is not supported: {len(elsewhere)} projections lie outside the decoder "
            f"blocks, such as {elsewhere[0]}, where an adapter would reach and masks would not"
        )
    length = getattr(model.config, "max_position_embeddings", None)
    if type(length) is not int or length < 1:
        raise ModelError(f"{name} is not supported: max_position_embeddings is {length!r}")
    with refusing(f"{name} is not supported: a pass through its decoder cannot be followed"):
        mlp_readers(model)


def _refuse_other_matrices(where: str, block: nn.Module) -> None:
    others = [
        path
        for path, weight in block.named_parameters()
        if weight.dim() > 1 and path.rpartition(".")[0] not in PATHS
    ]
    if others:
        kind = "is a mixture of experts: it has" if "expert" in str(others) else "has"
        raise ModelError(
            f"{where} is not supported: it {kind} weights that neither masks nor an adapter would "
            f"cover, such as {', '.join(others[:3])}; see docs/models.md"
        )
