"""What a model would write next: its likeliest tokens, stored, and the divergence from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FLOOR = 1e-6  # least probability of all tokens that are not among the likeliest, together


@dataclass(frozen=True, slots=True)
class Likely:
    """A model's k likeliest next tokens at some positions, and their log-probabilities in nats."""

    tokens: Tensor  # (position, k)
    logprobs: Tensor  # (position, k)

    @classmethod
    def of(cls, logits: Tensor, k: int) -> Likely:
        """Return those of `logits` (position, vocabulary); of a smaller vocabulary, all."""
        found = torch.log_softmax(logits.float(), dim=-1).topk(min(k, logits.shape[-1]), dim=-1)
        return cls(found.indices, found.values)

    def to(self, device: torch.device) -> Likely:
        """Return the same on `device`."""
        return Likely(self.tokens.to(device), self.logprobs.to(device))


def divergence(logits: Tensor, likely: Likely, *, reverse: bool = False) -> Tensor:
    """Return the sum over positions of KL(stored || student), in nats; `reverse`: the other way.

    `logits` (position, vocabulary) are the student's. Tokens that are not among the stored model's
    likeliest count as one outcome, with at least the probability `FLOOR`, so this is a lower bound
    of the divergence over the whole vocabulary, and the same where all tokens are stored.
    """
    own = torch.log_softmax(logits.float(), dim=-1).gather(-1, likely.tokens)
    student, stored = _with_rest(own), _with_rest(likely.logprobs)
    first, second = (student, stored) if reverse else (stored, student)
    return (first.exp() * (first - second)).sum()


def _with_rest(logprobs: Tensor) -> Tensor:
    """Return the log-probabilities (position, k + 1) with that of all other tokens behind them."""
    rest = (1 - logprobs.exp().sum(dim=-1, keepdim=True)).clamp(min=FLOOR).log()
    return torch.cat([logprobs, rest], dim=-1)
