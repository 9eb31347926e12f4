"""Whether the post-trained model still perceives harm as the base does, layer by layer."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from components.core.vocabulary import Role
from components.probe.answers import CONFIDENCE
from components.probe.directions import Axis, States
from components.probe.result import AucFigure, MeanFigure, TransferFigure
from components.probe.separability import Folds, auc_interval, linear_probe

DIRECTIONS = 100  # random ones
RESAMPLES = 1000


def transfer_figures(
    base: States, post_trained: States, axis: Axis, folds: Folds, *, seed: int
) -> tuple[TransferFigure, ...]:
    """Return how the base's linear probe and its refusal `axis` read the post-trained states."""
    generator = np.random.default_rng(seed)
    found = []
    for k in range(len(axis.lengths)):
        own, moved = (
            torch.cat((states[Role.HARMFUL][k], states[Role.BENIGN][k]))
            for states in (base, post_trained)
        )
        along = {role: axis.project(own[k], k + 1) for role, own in post_trained.items()}
        found.append(
            TransferFigure(
                layer=k + 1,
                auc=transfer_auc(own, moved, folds),
                chance=chance_auc(moved, folds, generator),
                harmful=mean_figure(along[Role.HARMFUL], generator),
                benign=mean_figure(along[Role.BENIGN], generator),
            )
        )
    return tuple(found)


def transfer_auc(base: Tensor, post_trained: Tensor, folds: Folds) -> AucFigure:
    """Return the ROC AUC on post-trained states of the probe that was fitted on the base's.

    Both are (prompt, hidden), harmful prompts first. Each prompt is scored by the probe of the fold
    that did not see it, as in `probe_auc`.
    """
    from sklearn.metrics import roc_auc_score

    odds = np.empty(len(folds.labels))
    for fitted, scored in folds.splits:
        probe = linear_probe().fit(base[fitted].double().numpy(), folds.labels[fitted])
        odds[scored] = probe.decision_function(post_trained[scored].double().numpy())
    auc, harmful = float(roc_auc_score(folds.labels, odds)), int(folds.labels.sum())
    low, high = auc_interval(auc, harmful, len(odds) - harmful, confidence=CONFIDENCE)
    return AucFigure(auc=auc, low=low, high=high)


def chance_auc(states: Tensor, folds: Folds, generator: np.random.Generator) -> float:
    """Return the AUC that 95 of 100 random directions do not exceed, read either way round."""
    from scipy.stats import rankdata

    drawn = generator.standard_normal((states.shape[1], DIRECTIONS))
    ranks = rankdata(states.double().numpy() @ drawn, axis=0)
    harmful, benign = int(folds.labels.sum()), int((folds.labels == 0).sum())
    least = harmful * (harmful + 1) / 2
    aucs = (ranks[folds.labels == 1].sum(axis=0) - least) / (harmful * benign)  # Mann and Whitney
    return float(np.quantile(np.maximum(aucs, 1 - aucs), CONFIDENCE))


def mean_figure(values: Tensor, generator: np.random.Generator) -> MeanFigure:
    """Return the mean of values (prompt,) with its percentile bootstrap interval."""
    found = values.double().numpy()
    means = generator.choice(found, (RESAMPLES, len(found))).mean(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return MeanFigure(mean=float(found.mean()), low=float(low), high=float(high))
