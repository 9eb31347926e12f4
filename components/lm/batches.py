"""Token sequences of different length as padded batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

_SIMILAR = 32  # sequences of similar length


def pad_left(sequences: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Return ids and mask, both (batch, position) integers, padded on the left."""
    rows = [torch.tensor(sequence, dtype=torch.long) for sequence in sequences]
    ids = pad_sequence(rows, batch_first=True, padding_value=pad, padding_side="left")
    ones = [torch.ones_like(row) for row in rows]
    return ids, pad_sequence(ones, batch_first=True, padding_side="left")


def pad_right(sequences: Sequence[Sequence[int]], tails: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return ids and mask, both (batch, position), padded on the right with id 0.

    The mask is true at the last `tails[i]` positions of sequence i.
    """
    rows = [torch.tensor(sequence, dtype=torch.long) for sequence in sequences]
    last = [torch.arange(len(r)) >= len(r) - tail for r, tail in zip(rows, tails, strict=True)]
    return pad_sequence(rows, batch_first=True), pad_sequence(last, batch_first=True)


def positions_of(mask: Tensor) -> Tensor:
    """Return the position ids (batch, position) of a mask; padding gets 0."""
    return (mask.cumsum(dim=-1) - 1).clamp(min=0)


def longest_first(sequences: Sequence[Sequence[int]]) -> list[int]:
    """Return the indices of the sequences, the longest first, so that memory that will not do is
    found out at once."""
    return sorted(range(len(sequences)), key=lambda i: (-len(sequences[i]), i))


def by_length(sequences: Sequence[Sequence[int]], batch: int) -> Iterator[list[int]]:
    """Yield index lists of at most `batch` sequences of similar length, longest first."""
    order = longest_first(sequences)
    for start in range(0, len(order), batch):
        yield order[start : start + batch]


def by_tokens(sequences: Sequence[Sequence[int]], tokens: int) -> Iterator[list[int]]:
    """Yield index lists of sequences of similar length, longest first, which padded together hold
    at most `tokens` tokens, or one sequence."""
    for rows in by_length(sequences, _SIMILAR):
        fitting = max(1, tokens // len(sequences[rows[0]]))
        for start in range(0, len(rows), fitting):
            yield rows[start : start + fitting]
