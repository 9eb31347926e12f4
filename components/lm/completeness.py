"""Whether the weights of a model are all there, its own, one where they are tied, and finite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from components.core.errors import ModelError
from components.lm.weights import read_weights, some_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_UNTIED = (
    ": config.json ties input and output embeddings, and the files hold two that differ; set "
    "tie_word_embeddings to what the model was trained with"
)


def check_report(what: str, report: Mapping[str, Any]) -> None:
    """Raise `ModelError` unless transformers' loading `report` is without any complaint.

    It would fill what is missing with random weights and leave out what it does not expect.
    """
    told = {
        "missing from the files": report["missing_keys"],
        "not the model's": report["unexpected_keys"],
        "of another shape": [
            f"{name} ({tuple(stored)} in the files, {tuple(own)} in the model)"
            for name, stored, own in report["mismatched_keys"]
        ],
        "not to be converted": report.get("conversion_errors") or (),
        "in error": report.get("error_msgs") or (),
    }
    wrong = [f"{len(keys)} {how}: {some_of(keys)}" for how, keys in told.items() if keys]
    if wrong:
        raise ModelError(
            f"{what}: the weights are not those that the settings beside them describe: "
            f"{'; '.join(wrong)}; save the whole again with save_pretrained, or mend the settings"
        )


def check_same(what: str, stored: Mapping[str, Tensor], used: Mapping[str, Tensor]) -> None:
    """Raise `ModelError` unless the `stored` tensors are those in use, by name and shape."""
    shared = stored.keys() & used.keys()
    unlike = [
        (name, tuple(stored[name].shape), tuple(used[name].shape))
        for name in shared
        if stored[name].shape != used[name].shape
    ]
    missing, unexpected = used.keys() - shared, stored.keys() - shared
    check_report(
        what,
        {"missing_keys": missing, "unexpected_keys": unexpected, "mismatched_keys": unlike},
    )


def check_loaded(what: str, model: PreTrainedModel) -> None:
    """Raise `ModelError` where a loaded `model` has a weight that is not finite, or two matrices
    where config.json says that input and output embeddings are one."""
    check_finite(what, model.named_parameters())
    head = model.get_output_embeddings()
    tied = model.config.get_text_config().tie_word_embeddings
    if tied and head is not None and head.weight is not model.get_input_embeddings().weight:
        raise ModelError(what + _UNTIED)


def check_tied(folder: Path, model: PreTrainedModel) -> None:
    """Tie the embeddings of an outline of the checkpoint in `folder` as config.json says.

    Raises `ModelError` where the files hold two that differ, which loading would leave apart.
    """
    pairs = getattr(model, "all_tied_weights_keys", {})
    names = {*pairs, *pairs.values()}
    stored = dict(read_weights(folder, names))
    for name, source in pairs.items():
        if {name, source} <= stored.keys() and not torch.equal(stored[name], stored[source]):
            raise ModelError(str(folder) + _UNTIED)
    model.tie_weights()


def check_values(what: str, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Raise `ModelError` naming the tensors of a checkpoint that are not finite, or matrices of
    nothing but zeros, as a failed gathering or merge leaves them."""
    empty = []

    def seen() -> Iterator[tuple[str, Tensor]]:
        for name, tensor in tensors:
            if tensor.dim() > 1 and tensor.is_floating_point() and not tensor.any():
                empty.append(name)
            yield name, tensor

    check_finite(what, seen())
    if empty:
        raise ModelError(
            f"{what}: {len(empty)} weights hold nothing but zeros, such as {some_of(empty)}; they "
            "were lost when the model was saved or merged: give another checkpoint"
        )


def check_finite(what: str, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Raise `ModelError` naming the tensors that hold a NaN or an infinity."""
    broken = [
        name for name, tensor in tensors if tensor.is_floating_point() and not _finite(tensor)
    ]
    if broken:
        raise ModelError(
            f"{what}: {len(broken)} weights are not finite, such as {some_of(broken)}; training "
            "diverged or a file is damaged: give another checkpoint"
        )


def _finite(tensor: Tensor) -> bool:
    # Minimum and maximum are NaN where an element is, and take no memory of their own.
    return tensor.numel() == 0 or bool(torch.stack(tensor.aminmax()).isfinite().all())
