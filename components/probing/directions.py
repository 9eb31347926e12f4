"""Where a model sees harm: refusal directions, linear probes, and how far post-training moved them.

All states are those of the last prompt token, where the model is about to answer.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from components.errors import DataError, ModelError
from components.lm.chat import render_prompt
from components.lm.states import backbone, states_from_end
from components.probing.sampling import Rows
from components.records import Role
from components.results import LayerProbe

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

States = dict[Role, Tensor]  # role -> (prompt, layer, hidden)


def last_token_states(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Rows, *, batch: int
) -> States:
    """Return the states at the last prompt token: role -> (prompt, layer, hidden), fp32.

    Raises `ModelError` where a state is not finite: such a checkpoint is broken.
    """
    layers = range(1, len(backbone(model).layers) + 1)
    states: States = {}
    for role, prompts in rows.items():
        sequences = [render_prompt(tokenizer, prompt.text) for prompt in prompts]
        states[role] = states_from_end(
            model, sequences, layers=layers, pad=tokenizer.pad_token_id, batch=batch
        )[:, 0]
        if not states[role].isfinite().all():
            raise ModelError(
                f"hidden states on {role} prompts are not finite; the checkpoint is broken, or its "
                "precision is too low for it"
            )
        log.info("hidden states of %d %s prompts at %d layers", len(prompts), role, len(layers))
    return states


def refusal_directions(harmful: Tensor, benign: Tensor) -> Tensor:
    """Return the unit difference in means, harmful - benign: (layer, hidden).

    `harmful` and `benign` are (prompt, layer, hidden). Source: Arditi et al. 2024 (arXiv
    2406.11717), section 2.3; they read several positions, we read the last. Raises `DataError`
    where the means are equal, so that there is no direction.
    """
    difference = harmful.mean(dim=0) - benign.mean(dim=0)
    length = difference.norm(dim=-1, keepdim=True)
    if (length == 0).any():
        layer = int((length[:, 0] == 0).nonzero()[0]) + 1
        raise DataError(
            f"harmful and benign prompts have the same mean state at layer {layer}; are they the "
            "same prompts, or does the template drop the user's text?"
        )
    return difference / length


def separations(harmful: Tensor, benign: Tensor) -> Tensor:
    """Return per layer the norm of the difference in means over the mean norm of the states.

    Free of the layer's scale, so that layers and models can be compared.
    """
    difference = harmful.mean(dim=0) - benign.mean(dim=0)
    scale = torch.cat((harmful, benign)).norm(dim=-1).mean(dim=0)
    return difference.norm(dim=-1) / scale


def drifts(before: Tensor, after: Tensor) -> Tensor:
    """Return per layer 1 - mean cosine of two models' states on the same prompts.

    Both are (prompt, layer, hidden). 0: unmoved; 1: at right angles.
    """
    return 1 - torch.nn.functional.cosine_similarity(before, after, dim=-1).mean(dim=0)


def check_folds(harmful: int, benign: int, *, folds: int) -> None:
    """Raise `DataError` where a class has fewer prompts than there are folds."""
    if min(harmful, benign) < folds:
        raise DataError(
            f"linear probes over {folds} folds need as many prompts of each class; there are "
            f"{harmful} harmful and {benign} benign ones. Add prompts, or lower probe.folds"
        )


def probe_aucs(harmful: Tensor, benign: Tensor, *, folds: int, seed: int) -> list[float]:
    """Return per layer the mean ROC AUC of a linear probe over stratified folds.

    The probe is a standardised logistic regression, fitted without the fold that it is judged on.
    0.5 is chance. Raises `DataError` where a class has fewer rows than there are folds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    check_folds(len(harmful), len(benign), folds=folds)
    labels = [1] * len(harmful) + [0] * len(benign)
    states = torch.cat((harmful, benign)).double().numpy()
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return [
        float(cross_val_score(probe, states[:, k], labels, cv=split, scoring="roc_auc").mean())
        for k in range(states.shape[1])
    ]


def layer_probes(
    base: States, post_trained: States, *, same_lineage: bool, folds: int, seed: int
) -> tuple[LayerProbe, ...]:
    """Return the figures of every layer of the post-trained model.

    Without one lineage the two models' states do not share axes: what compares them is None.
    """
    own = [_figures(states, folds=folds, seed=seed) for states in (base, post_trained)]
    between = _between(base, post_trained) if same_lineage else []
    layers = []
    for k, (auc, separation) in enumerate(own[1]):
        auc_base, separation_base = own[0][k] if k < len(own[0]) else (None, None)
        cosine, harmful, benign, reasoning = between[k] if between else (None,) * 4
        layers.append(
            LayerProbe(
                layer=k + 1,
                auc_base=auc_base,
                auc_post_trained=auc,
                separation_base=separation_base,
                separation_post_trained=separation,
                direction_cosine=cosine,
                drift_harmful=harmful,
                drift_benign=benign,
                drift_reasoning=reasoning,
            )
        )
    return tuple(layers)


def _figures(states: States, *, folds: int, seed: int) -> list[tuple[float, float]]:
    harmful, benign = states[Role.HARMFUL], states[Role.BENIGN]
    aucs = probe_aucs(harmful, benign, folds=folds, seed=seed)
    return list(zip(aucs, separations(harmful, benign).tolist(), strict=True))


def _between(base: States, post_trained: States) -> list[tuple[float, ...]]:
    """Return per layer: cosine of the directions, drift on harmful, benign, reasoning prompts."""
    directions = [refusal_directions(s[Role.HARMFUL], s[Role.BENIGN]) for s in (base, post_trained)]
    columns = [(directions[0] * directions[1]).sum(dim=-1)]
    columns += [
        drifts(base[role], post_trained[role])
        for role in (Role.HARMFUL, Role.BENIGN, Role.REASONING)
    ]
    return list(zip(*(column.tolist() for column in columns), strict=True))
