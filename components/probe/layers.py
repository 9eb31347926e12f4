"""The figures of every layer, computed one layer at a time."""

from __future__ import annotations

import logging

from components.core.vocabulary import Role
from components.probe.directions import Axis, separation
from components.probe.drift import cosine_drift, linear_cka
from components.probe.last_tokens import States
from components.probe.result import AucFigure, DriftFigure, LayerProbe
from components.probe.separability import Folds, probe_auc

log = logging.getLogger(__name__)


def layer_probes(
    base: States, post_trained: States, *, axes: tuple[Axis, Axis] | None, folds: Folds
) -> tuple[LayerProbe, ...]:
    """Return the figures of every layer of the post-trained model.

    `axes` are the two models' refusal axes. Without one lineage their states do not share axes;
    then it is None, and so is all that compares the models.
    """
    count = len(post_trained[Role.HARMFUL])
    layers = []
    for k in range(count):
        auc_base, separation_base = None, None
        if k < len(base[Role.HARMFUL]):
            auc_base, separation_base = _own_figures(base, k, folds)
        auc, own_separation = _own_figures(post_trained, k, folds)
        layers.append(
            LayerProbe(
                layer=k + 1,
                auc_base=auc_base,
                auc_post_trained=auc,
                separation_base=separation_base,
                separation_post_trained=own_separation,
                direction_cosine=_cosine(axes, k) if axes else None,
                drift=_drifts(base, post_trained, k) if axes else None,
            )
        )
        log.info("figures of layers %d/%d", k + 1, count)
    return tuple(layers)


def _own_figures(states: States, k: int, folds: Folds) -> tuple[AucFigure, float]:
    harmful, benign = states[Role.HARMFUL][k], states[Role.BENIGN][k]
    return probe_auc(harmful, benign, folds), separation(harmful, benign)


def _cosine(axes: tuple[Axis, Axis], k: int) -> float:
    one, two = axes
    return float(one.directions[k] @ two.directions[k])


def _drifts(base: States, post_trained: States, k: int) -> dict[Role, DriftFigure]:
    return {
        role: DriftFigure(
            cosine=cosine_drift(base[role][k], post_trained[role][k]),
            cka=linear_cka(base[role][k], post_trained[role][k]),
        )
        for role in base
    }
