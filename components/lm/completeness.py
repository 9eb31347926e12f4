"""Whether the weights of a model are all there, its own, one where they are tied, and finite."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
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
    complaints = {
        "missing from the files": report["missing_keys"],
        "not the model's": report["unexpected_keys"],
        "of another shape": [
            f"{name} ({tuple(stored)} in the files, {tuple(own)} in the model)"
            for name, stored, own in report["mismatched_keys"]
        ],
        "not to be converted": report.get("conversion_errors") or (),
        "in error": report.get("error_msgs") or (),
    }
    wrong = [f"{len(keys)} {how}: {some_of(keys)}" for how, keys in complaints.items() if keys]
    if wrong:
        raise ModelError(
            f"{what}: the weights are not those that the settings beside them describe: "
            f"{'; '.join(wrong)}; save the whole again with save_pretrained, or mend the settings"
        )


def check_same(what: str, stored: Mapping[str, Tensor], used: Mapping[str, Tensor]) -> None:
    """Raise `ModelError` unless the `stored` tensors are those in use, by name and shape."""
    shapes = [(k, stored[k].shape, used[k].shape) for k in stored.keys() & used.keys()]
    report = {
        "missing_keys": used.keys() - stored.keys(),
        "unexpected_keys": stored.keys() - used.keys(),
        "mismatched_keys": [row for row in shapes if row[1] != row[2]],
    }
    check_report(what, report)


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
    broken, empty = [], []
    for name, tensor in tensors:
        if not _finite(tensor):
            broken.append(name)
        elif tensor.dim() > 1 and tensor.is_floating_point() and not tensor.any():
            empty.append(name)
    _refuse_broken(what, broken)
    if empty:
        raise ModelError(
            f"{what}: {len(empty)} weights hold nothing but zeros, such as {some_of(empty)}; they "
            "were lost when the model was saved or merged: give another checkpoint"
        )


def check_finite(what: str, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Raise `ModelError` naming the tensors that hold a NaN or an infinity."""
    _refuse_broken(what, [name for name, tensor in tensors if not _finite(tensor)])


def _refuse_broken(what: str, names: Collection[str]) -> None:
    if names:
        raise ModelError(
            f"{what}: {len(names)} weights are not finite, such as {some_of(names)}; training "
            "diverged or a file is damaged: give another checkpoint"
        )


def _finite(tensor: Tensor) -> bool:
    # Minimum and maximum are NaN where an element is, and take no memory of their own.
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    return bool(torch.stack(tensor.aminmax()).isfinite().all())
