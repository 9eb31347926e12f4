"""Weights moved by what alignment changed elsewhere, one tensor at a time.

`W = W_post-trained + scale (W_aligned - W_ancestor)`, where the post-trained model and the aligned
one come from the same ancestor: task arithmetic (Ilharco et al. 2022, arXiv 2212.04089), as in the
chat vector (Huang et al. 2023, arXiv 2310.04799) and RESTA (Bhardwaj et al. 2024, arXiv
2402.11746).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from torch import Tensor

from components.core.errors import ModelError, StageError
from components.core.result import Result
from components.lm.architecture import outline
from components.lm.loading import checkpoint_folder
from components.lm.references import CheckpointRef, Vector
from components.lm.weights import header, read_weights, some_of, weight_files

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from components.lm.teachers import Means, Teacher


def vector_of(models: Result, refs: Sequence[CheckpointRef], scale: float) -> Vector:
    """Return the vector between checkpoints of a pair: post-trained, aligned and ancestor."""
    post_trained, aligned, ancestor = (checkpoint_folder(models, ref) for ref in refs)
    return Vector(post_trained, aligned, ancestor, scale)


def check_vector(vector: Vector) -> None:
    """Raise `ModelError` unless all three checkpoints have the same weights in the same shapes.

    Only settings and the headers of the files are read.
    """
    own, tied = _shapes(vector.post_trained)
    for folder in (vector.aligned, vector.ancestor):
        shapes, theirs = _shapes(folder)
        unlike = sorted({name for name, _ in own.items() ^ shapes.items()})
        if tied != theirs:
            words = ("two matrices", "one")
            what = f"input and output embeddings are {words[theirs]} there and {words[tied]} here"
        elif unlike:
            name = unlike[0]
            what = (
                f"{len(unlike)} weights differ, such as {name}, which is "
                f"{shapes.get(name, 'missing')} there and {own.get(name, 'missing')} here"
            )
        else:
            continue
        raise ModelError(
            f"{folder} cannot give the teacher `vector`: its weights do not fit those of "
            f"{vector.post_trained}: {what}; give the post-trained model's own ancestor and, as "
            "models.base, what that was aligned to, or leave models.ancestor out"
        )


def _shapes(folder: Path) -> tuple[dict[str, tuple[int, ...]], bool]:
    """Return the shape of every parameter, one of tied ones, and whether embeddings are tied.

    Raises `ModelError` where the files call a parameter otherwise than the model does.
    """
    model = outline(folder)
    model.tie_weights()
    shapes = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    stored = {name for path in weight_files(folder) for name, _ in header(path)}
    if renamed := shapes.keys() - stored:
        raise ModelError(
            f"{folder} stores {len(renamed)} weights under other names than the model has, such as "
            f"{some_of(renamed)}, so they cannot be added; save it again with save_pretrained"
        )
    return shapes, bool(model.config.get_text_config().tie_word_embeddings)


def applied(teacher: Teacher, model: PreTrainedModel, means: Means) -> AbstractContextManager[None]:
    """Change the loaded model within the block into the teacher, with its vector if it has one.

    Raises `StageError` where the probe chose no scale of the vector.
    """
    if not teacher.adds_vector:
        return teacher.applied(model, means)
    if means.vector is None:
        raise StageError("the pair has no vector; run the stages `models` and `probe` again")
    return moved(model, means.vector)


@contextmanager
def moved(model: PreTrainedModel, vector: Vector) -> Iterator[None]:
    """Add the vector to the loaded post-trained model within the block, in its own precision.

    Afterwards its weights are read again, so they are as before bit by bit. Beside the model, one
    tensor of each checkpoint is in memory. Raises `ModelError` where the weights do not fit.
    """
    check_vector(vector)
    weights = dict(model.named_parameters())
    places = {name: path for path in weight_files(vector.ancestor) for name, _ in header(path)}
    try:
        for name, aligned in read_weights(vector.aligned, weights.keys()):
            with safe_open(places[name], framework="pt", backend="pread") as stored:
                step = aligned.float() - stored.get_tensor(name).float()
            _add(weights[name], vector.scale * step)
        yield
    finally:
        for name, own in read_weights(vector.post_trained, weights.keys()):
            weights[name].data.copy_(own)


@torch.no_grad()
def _add(weight: Tensor, step: Tensor) -> None:
    weight.copy_(weight.float() + step.to(weight.device))
