"""How well a linear probe tells harmful from benign prompts: cross-validated AUC, interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from components.core.errors import DataError
from components.core.vocabulary import Prompt
from components.probe.answers import CONFIDENCE
from components.probe.result import AucFigure

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class Folds:
    """The cross-validation of every layer and both models: prompts judged together, and apart."""

    by: Literal["topic", "prompt"]  # what is never both in a fold and in what it is judged by
    labels: np.ndarray  # (prompt,): 1 harmful, 0 benign; harmful prompts first
    splits: tuple[tuple[np.ndarray, np.ndarray], ...]  # indices fitted on, and judged, by fold


def draw_folds(
    harmful: Sequence[Prompt], benign: Sequence[Prompt], *, folds: int, seed: int
) -> Folds:
    """Return stratified folds, by topic where both classes have at least so many topics.

    By topic a probe is judged on topics it was not fitted on, and cannot pass by knowing words.
    Raises `DataError` where a class has fewer prompts than there are folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if min(len(harmful), len(benign)) < folds:
        raise DataError(
            f"linear probes over {folds} folds need as many prompts of each class; there are "
            f"{len(harmful)} harmful and {len(benign)} benign ones. Add prompts, or lower "
            "probe.folds"
        )
    labels = np.array([1] * len(harmful) + [0] * len(benign))
    topics = np.array([row.topic for row in (*harmful, *benign)])
    enough = all(len(set(topics[labels == label])) >= folds for label in (0, 1))
    kind = StratifiedGroupKFold if enough else StratifiedKFold
    cut = kind(folds, shuffle=True, random_state=seed)
    splits = tuple(cut.split(labels, labels, topics if enough else None))
    return Folds("topic" if enough else "prompt", labels, splits)


def probe_auc(harmful: Tensor, benign: Tensor, folds: Folds) -> AucFigure:
    """Return the ROC AUC of a linear probe on states (prompt, hidden), with its interval.

    The probe is a standardised logistic regression; every prompt's log-odds are those of the probe
    fitted without its fold, and all folds' are pooled into one AUC. 0.5 is chance. The interval
    takes prompts as drawn, and the fitted probes as given.
    """
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import cross_val_predict

    states = torch.cat((harmful, benign)).double().numpy()
    odds = cross_val_predict(
        linear_probe(), states, folds.labels, cv=folds.splits, method="decision_function"
    )
    auc = float(roc_auc_score(folds.labels, odds))
    low, high = auc_interval(auc, len(harmful), len(benign), confidence=CONFIDENCE)
    return AucFigure(auc=auc, low=low, high=high)


def linear_probe() -> Pipeline:
    """Return a standardised logistic regression, not fitted."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def auc_interval(auc: float, m: int, n: int, *, confidence: float) -> tuple[float, float]:
    """Return both ends of the interval of an AUC over m and n prompts.

    Newcombe 2006 (Stat Med 25:559-573), method 5: the values whose distance to the estimate is z
    times their own standard error, by the variance of Hanley and McNeil with (m + n) / 2 - 1 in
    place of both m - 1 and n - 1. So an AUC of 1 has a lower end below 1.
    """
    from scipy.stats import norm

    z = float(norm.ppf((1 + confidence) / 2))
    return _lower_end(auc, m, n, z), 1 - _lower_end(1 - auc, m, n, z)


def _lower_end(auc: float, m: int, n: int, z: float) -> float:
    from scipy.optimize import brentq

    if auc <= 0:
        return 0.0
    pairs = (m + n) / 2 - 1

    def excess(value: float) -> float:
        spread = 1 + pairs * ((1 - value) / (2 - value) + value / (1 + value))
        return auc - value - z * math.sqrt(value * (1 - value) * spread / (m * n))

    # At an AUC of 1 the equation has a second root, 1 itself, which is left out.
    return float(brentq(excess, 0, min(auc, 1 - 1e-12)))
