"""What a step keeps for its backward pass, and when the decoder blocks compute it again instead.

Without checkpoints a block keeps all that its backward pass needs. With them (Chen et al. 2016,
arXiv 1604.06174, section 4) it keeps its input, and computes the rest again when its turn comes: a
third more arithmetic, the same gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peft import PeftModel

# Bytes that a token leaves in a block for a unit of its hidden, feed-forward, query and key width,
# by the bytes of a weight: LoRA in single precision with dropout on all seven projections. Counted
# with transformers 5.23 and peft 0.21 (tests/components/train/test_activations.py counts again).
RATES = {4: (48, 20, 16, 8), 2: (48, 14, 12, 4)}
_ROOM = 0.8  # share of the free memory that activations may fill; losses need the rest


def kept_bytes(widths: Sequence[int], itemsize: int, *, checkpointed: bool) -> float:
    """Return the bytes that a token leaves in a block of these hidden, feed-forward, query and key
    widths; `itemsize`: bytes of a weight."""
    if checkpointed:
        return itemsize * widths[0]
    rates = RATES[4 if itemsize == 4 else 2]
    return sum(rate * width for rate, width in zip(rates, widths, strict=True))


def activation_bytes(
    widths: Sequence[int], itemsize: int, *, tokens: int, blocks: int, checkpointed: bool
) -> float:
    """Return the bytes that `tokens` leave in so many blocks; of checkpointed ones one at a time
    also holds what it computes again."""
    kept = blocks * kept_bytes(widths, itemsize, checkpointed=checkpointed)
    again = kept_bytes(widths, itemsize, checkpointed=False) if checkpointed else 0
    return tokens * (kept + again)


def asks_for_checkpoints(activations: float, free: float) -> bool:
    """Return whether so many bytes of activations are too many for a device with `free` bytes."""
    return activations > _ROOM * free


def checkpoint_blocks(adapted: PeftModel) -> None:
    """Let every decoder block compute its activations again in the backward pass, in training.

    Hooks on a block run once: what is computed again is within it. The embeddings of a frozen model
    need no gradient for that, so blocks before the first adapter keep and repeat nothing.
    """
    model: Any = adapted.get_base_model()
    model.activation_checkpointing_enable({"use_reentrant": False})
    model.disable_input_require_grads()
