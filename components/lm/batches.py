"""Token sequences of different length as padded batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def pad_left(sequences: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Return ids and mask, both (batch, position) integers, padded on the left."""
    width = max(len(sequence) for sequence in sequences)
    ids = torch.full((len(sequences), width), pad, dtype=torch.long)
    mask = torch.zeros((len(sequences), width), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, width - len(sequence) :] = torch.tensor(sequence, dtype=torch.long)
        mask[row, width - len(sequence) :] = 1
    return ids, mask


def positions_of(mask: Tensor) -> Tensor:
    """Return the position ids (batch, position) of a mask; padding gets 0."""
    return (mask.cumsum(dim=-1) - 1).clamp(min=0)


def by_length(sequences: Sequence[Sequence[int]], batch: int) -> Iterator[list[int]]:
    """Yield index lists of at most `batch` sequences of similar length, longest first.

    The longest first, so that memory that will not do is found out at once.
    """
    order = sorted(range(len(sequences)), key=lambda i: (-len(sequences[i]), i))
    for start in range(0, len(order), batch):
        yield order[start : start + batch]


_SIMILAR = 32  # sequences of similar length


def by_tokens(sequences: Sequence[Sequence[int]], tokens: int) -> Iterator[list[int]]:
    """Yield index lists of sequences of similar length, longest first, which padded together hold
    at most `tokens` tokens, or one sequence."""
    for rows in by_length(sequences, _SIMILAR):
        fitting = max(1, tokens // len(sequences[rows[0]]))
        for start in range(0, len(rows), fitting):
            yield rows[start : start + fitting]


def pad_right(sequences: Sequence[Sequence[int]], tails: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return ids and mask, both (batch, position), padded on the right with id 0.

    The mask is true at the last `tails[i]` positions of sequence i.
    """
    width = max(len(sequence) for sequence in sequences)
    ids = torch.zeros(len(sequences), width, dtype=torch.long)
    mask = torch.zeros(len(sequences), width, dtype=torch.bool)
    for row, (sequence, tail) in enumerate(zip(sequences, tails, strict=True)):
        ids[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.long)
        mask[row, len(sequence) - tail : len(sequence)] = True
    return ids, mask
