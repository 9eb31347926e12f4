"""How far post-training moved the states of the same prompts."""

from __future__ import annotations

import math

import torch
from torch import Tensor

FEWEST = 4  # prompts that the debiased estimator needs


def cosine_drift(before: Tensor, after: Tensor) -> float:
    """Return 1 - mean cosine of two models' states (prompt, hidden): 0 unmoved, 1 at right angles.

    It sees a common shift and a rotation, unlike `linear_cka`.
    """
    return float(1 - torch.nn.functional.cosine_similarity(before, after, dim=-1).mean())


def linear_cka(before: Tensor, after: Tensor) -> float | None:
    """Return the debiased linear CKA of two sets of states (prompt, hidden) of the same prompts.

    1: the prompts lie to one another as before, up to shift, rotation and scale; 0: nothing in
    common. CKA: Kornblith et al. 2019 (arXiv 1905.00414). Its usual estimator nears 1 for any two
    sets of far fewer prompts than features, so HSIC is estimated without bias here (Song et al.
    2012, JMLR 13:1393-1434, equation 5; for CKA: Nguyen et al. 2020, arXiv 2010.15327). It may then
    fall slightly below 0. None with fewer than four prompts or where a set does not vary.
    """
    if len(before) < FEWEST:
        return None
    one, two = _gram(before), _gram(after)
    scale = unbiased_hsic(one, one) * unbiased_hsic(two, two)
    return unbiased_hsic(one, two) / math.sqrt(scale) if scale > 0 else None


def unbiased_hsic(one: Tensor, two: Tensor) -> float:
    """Return the unbiased estimate of HSIC from two Gram matrices (prompt, prompt), n >= 4.

    With their diagonals set to zero (Song et al. 2012, equation 5):
    `[tr(KL) + 1'K1 1'L1 / ((n-1)(n-2)) - 2/(n-2) 1'KL1] / (n(n-3))`.
    """
    n = len(one)
    one, two = (gram - torch.diag(gram.diagonal()) for gram in (one, two))
    rows, columns = one.sum(dim=0), two.sum(dim=0)
    total = (one * two).sum() + rows.sum() * columns.sum() / ((n - 1) * (n - 2))
    return float((total - 2 / (n - 2) * rows @ columns) / (n * (n - 3)))


def _gram(states: Tensor) -> Tensor:
    # The estimate does not change with a common shift; without it less is lost to rounding.
    centred = states.double() - states.double().mean(dim=0)
    return centred @ centred.T
