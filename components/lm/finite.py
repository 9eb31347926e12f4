"""What a forward pass gives is finite, or it is an error.

Weights that are finite may still overflow: half precision ends at 65504, and from there on a model
computes NaN. The largest of several logits is then any token, so a completion would be made of the
vocabulary's first word, and be judged.
"""

from __future__ import annotations

from torch import Tensor

from components.core.errors import ModelError


def check_finite(what: str, values: Tensor) -> None:
    """Raise `ModelError` where one of the values that a model computed is a NaN or infinite."""
    if not values.isfinite().all():
        raise not_finite(what, str(values.dtype).removeprefix("torch."))


def not_finite(what: str, precision: str) -> ModelError:
    """Return the error of a model that computes a NaN or an infinite number."""
    return ModelError(
        f"{what} that the model computes are not finite in {precision}: its numbers are too large "
        "for the precision, or its weights are damaged; set SAFEREACT_PRECISION to bfloat16 or "
        "float32, or give another checkpoint"
    )
