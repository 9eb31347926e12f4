"""The figures of every layer: how far apart harmful and benign prompts lie, and how far
post-training moved the states of the same prompts; and which layers are the targets.

One layer at a time is in memory.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from components.core.errors import ConfigError
from components.core.vocabulary import Role
from components.probe.directions import Axis, States
from components.probe.result import AucFigure, DriftFigure, LayerProbe
from components.probe.separability import Folds, probe_auc

log = logging.getLogger(__name__)

NO_SEPARATION = 0.6  # below this AUC a layer does not tell harmful from benign
FEWEST = 4  # prompts that the debiased estimator needs


def layer_probes(
    base: States, post_trained: States, *, axes: tuple[Axis, Axis] | None, folds: Folds
) -> tuple[LayerProbe, ...]:
    """Return the figures of every layer of the post-trained model.

    `axes` are the two models' refusal axes. Without one lineage their states do not share axes;
    then it is None, and so is all that compares the models.
    """
    count, layers = len(post_trained[Role.HARMFUL]), []
    for k in range(count):
        in_base = k < len(base[Role.HARMFUL])
        auc_base, separation_base = _own_figures(base, k, folds) if in_base else (None, None)
        auc, own_separation = _own_figures(post_trained, k, folds)
        layers.append(
            LayerProbe(
                layer=k + 1,
                auc_base=auc_base,
                auc_post_trained=auc,
                separation_base=separation_base,
                separation_post_trained=own_separation,
                direction_cosine=float(axes[0].directions[k] @ axes[1].directions[k])
                if axes
                else None,
                drift=_drifts(base, post_trained, k) if axes else None,
            )
        )
        log.info("figures of layers %d/%d", k + 1, count)
    return tuple(layers)


def _own_figures(states: States, k: int, folds: Folds) -> tuple[AucFigure, float]:
    harmful, benign = states[Role.HARMFUL][k], states[Role.BENIGN][k]
    return probe_auc(harmful, benign, folds), separation(harmful, benign)


def _drifts(base: States, post_trained: States, k: int) -> dict[Role, DriftFigure]:
    pairs = {role: (base[role][k], post_trained[role][k]) for role in base}
    return {
        role: DriftFigure(cosine=cosine_drift(*pair), cka=linear_cka(*pair))
        for role, pair in pairs.items()
    }


def separation(harmful: Tensor, benign: Tensor) -> float:
    """Return the norm of the difference in means over the mean norm of the states.

    Both are (prompt, hidden). Free of the layer's scale, so that layers and models compare.
    """
    difference = harmful.mean(dim=0) - benign.mean(dim=0)
    return float(difference.norm() / torch.cat((harmful, benign)).norm(dim=-1).mean())


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


def check_layers(wanted: Sequence[int], *, layers: int) -> tuple[int, ...]:
    """Return the wanted layers, ascending; raises `ConfigError` for one the model does not have."""
    beyond = sorted(layer for layer in wanted if not 1 <= layer <= layers)
    if beyond or not wanted or len(set(wanted)) < len(wanted):
        raise ConfigError(
            f"probe.target_layers is {list(wanted)}; give distinct layers from 1 to {layers}, or "
            "`auto`"
        )
    return tuple(sorted(wanted))


def spread(layers: int, count: int) -> tuple[int, ...]:
    """Return at most `count` layers of 1 ... `layers`, evenly over depth, the last among them.

    The k-th is k * layers / count, rounded half up: 5, 10, 15, 20, 25, 30 of 30. The authors take
    5, 10, 15, 20, 25, 27 of 28.
    """
    count = min(count, layers)
    return tuple((2 * k * layers + count) // (2 * count) for k in range(1, count + 1))


def choose_targets(aucs: Sequence[float], *, count: int) -> tuple[int, ...]:
    """Return the spread layers that tell harmful from benign, and the last one in any case.

    `aucs` are the linear probes' by layer in the model that still has its safety. A layer without
    separation has nothing to teach; the last one is what the model answers from.
    """
    taken = spread(len(aucs), count)
    chosen = tuple(k for k in taken if k == len(aucs) or aucs[k - 1] >= NO_SEPARATION)
    log.info("target layers %s of %d; %d dropped", chosen, len(aucs), len(taken) - len(chosen))
    return chosen
