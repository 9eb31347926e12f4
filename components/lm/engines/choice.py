"""The next token, greedy or sampled, and whether rounding could have decided it.

The same logits computed in another batch differ in their last digits. Where two tokens are so
close that this could change the choice, the choice is doubtful, and the engine computes the row's
logits once more, alone: then it depends on the row's own tokens and on nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from components.lm.finite import check_finite

# By how much a logit may differ between batches, as a share of the largest one's distance from the
# mean. In single precision 1e-6 to 6e-6 was measured at random Llamas of 30 layers.
TOLERANCE = 2e-5
_CANDIDATES = 1024  # likeliest tokens that are sorted for a nucleus, where they are enough


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a batch's rows are sampled; every field is (batch), and temperature 0 is greedy."""

    temperature: Tensor
    top_p: Tensor
    top_k: Tensor  # 0: all
    uniform: Tensor  # of every row its number in [0, 1) for this position

    def __getitem__(self, rows: Tensor | slice) -> Sampling:
        parts = (self.temperature, self.top_p, self.top_k, self.uniform)
        return Sampling(*(part[rows] for part in parts))


def choose(logits: Tensor, sampling: Sampling, tolerance: float) -> tuple[Tensor, Tensor]:
    """Return the next tokens and whether each is doubtful, both (batch), from (batch, token).

    A sampled token is the one at which the cumulative probability, in the order of the token ids,
    first exceeds the row's uniform number. With tolerance 0 nothing is doubtful. Logits of minus
    infinity are never chosen; raises `ModelError` where a row's largest one is not finite.
    """
    tokens, doubtful = logits.argmax(dim=-1), sampling.temperature < 0
    check_finite("logits", logits.gather(1, tokens[:, None]))  # it is NaN where one is
    logits = logits.float()
    error = torch.zeros_like(sampling.temperature)
    if tolerance:
        best = logits.topk(2, dim=-1).values
        error = tolerance * (best[:, 0] - logits.mean(dim=-1))
        doubtful = best[:, 0] - best[:, 1] < error
    rows = sampling.temperature.nonzero().flatten()
    if len(rows):
        tokens[rows], doubtful[rows] = _sample(logits[rows], sampling[rows], error[rows])
    return tokens, doubtful


def _sample(logits: Tensor, sampling: Sampling, error: Tensor) -> tuple[Tensor, Tensor]:
    logits, close = _likeliest(logits, sampling.top_k, error)
    # A logit that is off by e puts every share off by a factor within exp(e / temperature).
    error = error.double() / sampling.temperature
    shares = _Shares.of(logits, sampling, error)
    places = shares.inverse(sampling.uniform)
    doubtful = close | (shares.doubtful(places, sampling.uniform, error) & (error > 0))
    return shares.tokens.gather(1, places[:, None]).squeeze(1), doubtful


def _likeliest(logits: Tensor, top_k: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits (batch, token) with all but the `top_k` likeliest at minus infinity, those
    as likely as the last of them kept, as transformers does before it takes a nucleus; and whether
    another one comes so close to the last that rounding may have parted them (batch)."""
    limited = (top_k > 0) & (top_k < logits.shape[1])
    if not limited.any():
        return logits, torch.zeros_like(limited)
    best = logits.topk(int(top_k[limited].max()) + 1, dim=-1).values
    place = torch.where(limited, top_k, 1)[:, None]
    last, following = best.gather(1, place - 1), best.gather(1, place)
    close = limited & ((last - following).squeeze(1) < error)
    kept = (logits >= last) | ~limited[:, None]
    return logits.masked_fill(~kept, -torch.inf), close


@dataclass(frozen=True, slots=True)
class _Shares:
    """The probabilities of a batch's next tokens, in double precision; all but the last are
    (batch, token), and tokens that no nucleus has may be missing."""

    tokens: Tensor  # their ids, ascending
    shares: Tensor
    likelier: Tensor  # the sum over all tokens before this one, the likeliest first
    top_p: Tensor  # (batch), infinite where no nucleus is asked for

    @classmethod
    def of(cls, logits: Tensor, sampling: Sampling, error: Tensor) -> _Shares:
        """Return those of `logits` (batch, token), sorted once, and only for a nucleus."""
        shares = torch.softmax(logits.double() / sampling.temperature[:, None], dim=-1)
        top_p = sampling.top_p.double().masked_fill(sampling.top_p >= 1, torch.inf)
        tokens = _candidates(shares, top_p + error)
        if tokens.shape < shares.shape:
            shares = shares.gather(1, tokens)
        likelier = torch.zeros_like(shares)
        if top_p.isfinite().any():
            ordered, places = shares.sort(dim=-1, descending=True, stable=True)
            likelier.scatter_(1, places, ordered.cumsum(dim=-1) - ordered)
        return cls(tokens, shares, likelier, top_p)

    def nucleus(self, top_p: Tensor) -> Tensor:
        """Return the shares without those outside the smallest set whose sum is `top_p` (batch) or
        more (Holtzman et al. 2020); the likeliest token always stays."""
        if top_p.isinf().all():
            return self.shares
        inside = (self.likelier < top_p[:, None]) | (self.likelier == 0)
        return torch.where(inside, self.shares, 0.0)

    def inverse(self, uniform: Tensor) -> Tensor:
        """Return where (batch) the cumulative share of the nucleus first exceeds `uniform`."""
        cumulative = self.nucleus(self.top_p).cumsum(dim=-1)
        total = cumulative[:, -1:].contiguous()
        found = torch.searchsorted(cumulative, uniform[:, None] * total, right=True)
        # Rounding may put a number that is nearly 1 behind the last token that has a share.
        return torch.minimum(found, torch.searchsorted(cumulative, total)).squeeze(1)

    def doubtful(self, places: Tensor, uniform: Tensor, error: Tensor) -> Tensor:
        """Return whether `inverse` could have found others than `places`, (batch) each, were the
        sums of shares off by `error` (batch)."""
        before = torch.arange(self.shares.shape[1], device=places.device) < places[:, None]
        lowest, highest = (uniform - error).clamp(min=0), uniform + error
        doubtful = torch.zeros_like(places, dtype=torch.bool)
        for inside in (self.nucleus(self.top_p + error), self.nucleus(self.top_p - error)):
            total, begin = inside.sum(dim=-1), torch.where(before, inside, 0.0).sum(dim=-1)
            end = begin + inside.gather(1, places[:, None]).squeeze(1)
            doubtful |= (lowest * total < begin) | (highest * total >= end)
        return doubtful


def _candidates(shares: Tensor, mass: Tensor) -> Tensor:
    """Return ids (batch, token), ascending, among which are the likeliest tokens whose sum is
    `mass` (batch) or more: some, or all."""
    if shares.shape[1] > _CANDIDATES and mass.isfinite().all():
        likeliest, tokens = shares.topk(_CANDIDATES, dim=-1)
        # Of those as likely as the last one some may be missing.
        whole = torch.where(likeliest > likeliest[:, -1:], likeliest, 0.0)
        if (whole.sum(dim=-1) >= mass).all():
            return tokens.sort(dim=-1).values
    return torch.arange(shares.shape[1], device=shares.device).expand_as(shares)
