"""How post-trained states are read by what was found in the base, against slow second ways."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from components.core.vocabulary import Role
from components.probe.directions import refusal_axis
from components.probe.separability import Folds, linear_probe, probe_auc
from components.probe.transfer import chance_auc, mean_figure, transfer_auc, transfer_figures

LABELS = np.array([1] * 12 + [0] * 12)
FOLD = np.arange(24) % 3
SPLITS = tuple((np.flatnonzero(k != FOLD), np.flatnonzero(k == FOLD)) for k in range(3))
FOLDS = Folds("prompt", LABELS, SPLITS)


def drawn(seed: int, shift: float) -> torch.Tensor:
    """Return 12 harmful and 12 benign states of 5 numbers; the first tells them apart."""
    states = torch.randn(24, 5, generator=torch.Generator().manual_seed(seed))
    states[:12, 0] += shift
    return states


def test_on_the_bases_own_states_it_is_the_bases_own_auc():
    own = drawn(0, 1.0)
    assert transfer_auc(own, own, FOLDS) == probe_auc(own[:12], own[12:], FOLDS)


def test_the_auc_counts_pairs_and_no_prompt_is_scored_by_a_probe_that_saw_it():
    base, tuned = drawn(0, 2.0), drawn(1, 0.7)
    odds = np.empty(24)
    for fitted, scored in FOLDS.splits:
        probe = linear_probe().fit(base[fitted].double().numpy(), LABELS[fitted])
        scale, regression = probe[0], probe[1]
        for i in scored:
            z = (tuned[i].double().numpy() - scale.mean_) / scale.scale_
            odds[i] = float(regression.coef_[0] @ z + regression.intercept_[0])
    wins = [float(h > b) + 0.5 * float(h == b) for h in odds[:12] for b in odds[12:]]
    assert transfer_auc(base, tuned, FOLDS).auc == pytest.approx(np.mean(wins))


def test_chance_is_high_only_where_prompts_differ_in_every_direction():
    generator = np.random.default_rng(0)
    assert chance_auc(drawn(0, 0.0), FOLDS, generator) < 0.8
    along = drawn(0, 0.0).double().numpy() @ np.random.default_rng(5).standard_normal((5, 100))
    pairs = (along[:12, None] > along[None, 12:]).mean(axis=(0, 1))  # slow: every pair of prompts
    expected = np.quantile(np.maximum(pairs, 1 - pairs), 0.95)
    found = chance_auc(drawn(0, 0.0), FOLDS, np.random.default_rng(5))
    assert found == pytest.approx(expected)
    far = drawn(0, 0.0)
    far[:12] += 100
    assert chance_auc(far, FOLDS, generator) == 1


def test_on_its_own_axis_the_base_lies_at_one_and_zero():
    own = drawn(3, 2.0)
    states = {Role.HARMFUL: own[:12][None], Role.BENIGN: own[12:][None]}
    half = {role: 0.5 * layer for role, layer in states.items()}
    axis = refusal_axis(states)
    (found,) = transfer_figures(states, states, axis, FOLDS, seed=0)
    assert found.harmful.mean == pytest.approx(1, abs=1e-5)
    assert found.benign.mean == pytest.approx(0, abs=1e-5)
    (nearer,) = transfer_figures(states, half, axis, FOLDS, seed=0)
    assert nearer.harmful.mean - nearer.benign.mean == pytest.approx(0.5, abs=1e-5)
    assert (found.layer, found.auc.auc) == (1, probe_auc(own[:12], own[12:], FOLDS).auc)


def test_the_interval_of_a_mean_is_the_bootstraps():
    values = torch.tensor([0.0, 1.0] * 50)
    found = mean_figure(values, np.random.default_rng(0))
    assert found.mean == 0.5
    half = 1.96 * 0.5 / 10  # of a normal approximation
    assert found.low == pytest.approx(0.5 - half, abs=0.02)
    assert found.high == pytest.approx(0.5 + half, abs=0.02)
    again = mean_figure(torch.full((4,), 2.0), np.random.default_rng(0))
    assert (again.low, again.mean, again.high) == (2, 2, 2)
