"""Figures of the layers of a pair; separation and drift by hand and by the U-statistic."""

from __future__ import annotations

from itertools import permutations
from math import sqrt

import numpy as np
import pytest
import torch

from components.core.vocabulary import Prompt, Role, Split
from components.probe.directions import refusal_axis
from components.probe.layers import (
    cosine_drift,
    layer_probes,
    linear_cka,
    separation,
    unbiased_hsic,
)
from components.probe.separability import Folds, draw_folds


def states(seed: int, layers: int = 2, hidden: int = 4) -> dict[Role, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        role: torch.randn(layers, 6, hidden, generator=generator) + index
        for index, role in enumerate((Role.HARMFUL, Role.BENIGN, Role.REASONING))
    }


@pytest.fixture
def folds() -> Folds:
    row = Prompt("0", "x", Role.BENIGN, "topic", "test", "MIT", Split.TRAIN)
    return draw_folds([row] * 6, [row] * 6, folds=2, seed=0)


def test_figures_of_equal_models(folds):
    same, axis = states(0), refusal_axis(states(0))
    layers = layer_probes(same, same, axes=(axis, axis), folds=folds)
    assert [layer.layer for layer in layers] == [1, 2]
    for layer in layers:
        assert layer.auc_base == layer.auc_post_trained
        assert layer.separation_base == layer.separation_post_trained
        assert layer.direction_cosine == pytest.approx(1)
        assert set(layer.drift) == {Role.HARMFUL, Role.BENIGN, Role.REASONING}
        for drift in layer.drift.values():
            assert drift.cosine == pytest.approx(0, abs=1e-6)
            assert drift.cka == pytest.approx(1)


def test_a_moved_role_is_the_one_that_drifts(folds):
    before, after = states(0), states(0)
    after[Role.HARMFUL] = -after[Role.HARMFUL]
    axes = refusal_axis(before), refusal_axis(after)
    for layer in layer_probes(before, after, axes=axes, folds=folds):
        assert layer.drift[Role.HARMFUL].cosine == pytest.approx(2)
        assert layer.drift[Role.BENIGN].cosine == pytest.approx(0, abs=1e-6)


def test_pairs_of_other_lineage_have_own_figures_but_none_between(folds):
    layers = layer_probes(states(0), states(1, 3, 8), axes=None, folds=folds)
    assert [layer.auc_base is None for layer in layers] == [False, False, True]
    assert layers[2].separation_base is None
    for layer in layers:
        assert layer.direction_cosine is None and layer.drift is None


def test_separation_by_hand():
    harmful = torch.tensor([[[3.0, 4.0], [5.0, 4.0]], [[1.0, 0.0], [3.0, 0.0]]])
    benign = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 2.0]]])
    # Layer 1: 5 over the mean of 5, sqrt 41, 1, 1. Layer 2: sqrt 5 over the mean of 1, 3, 0, 2.
    assert separation(harmful[0], benign[0]) == pytest.approx(5 / ((5 + sqrt(41) + 2) / 4))
    assert separation(harmful[1], benign[1]) == pytest.approx(sqrt(5) / 1.5)


def normal(seed: int, n: int, hidden: int) -> torch.Tensor:
    return torch.randn(n, hidden, generator=torch.Generator().manual_seed(seed))


def test_cosine_drift_by_hand():
    before = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert cosine_drift(before, torch.tensor([[5.0, 0.0], [0.0, 1.0]])) == pytest.approx(0)
    # Cosines 0 and -1.
    assert cosine_drift(before, torch.tensor([[0.0, 1.0], [0.0, -3.0]])) == pytest.approx(1.5)


def slow_hsic(one: np.ndarray, two: np.ndarray) -> float:
    """The mean over all ordered quadruples of distinct prompts (Song et al. 2012, section 3.2)."""
    kernel, other = one @ one.T, two @ two.T
    terms = [
        kernel[i, j] * (other[i, j] + other[q, r] - 2 * other[i, q])
        for i, j, q, r in permutations(range(len(one)), 4)
    ]
    return float(np.mean(terms))


@pytest.mark.parametrize("n", [4, 5, 7])
def test_hsic_equals_the_u_statistic(n):
    one, two = normal(n, n, 3).double(), normal(n + 50, n, 6).double()
    expected = slow_hsic(one.numpy(), two.numpy())
    assert unbiased_hsic(one @ one.T, two @ two.T) == pytest.approx(expected, rel=1e-9)


def test_cka_equals_the_slow_one():
    before = normal(1, 6, 4)
    after = before @ normal(2, 4, 9) + 0.3 * normal(3, 6, 9)
    pairs = ((before, after), (before, before), (after, after))
    across, one, two = (slow_hsic(*(t.double().numpy() for t in pair)) for pair in pairs)
    assert linear_cka(before, after) == pytest.approx(across / sqrt(one * two), rel=1e-6)


def test_cka_is_one_after_shift_rotation_and_scale_and_the_cosine_sees_them():
    before = normal(0, 12, 40) + 1
    rotation = torch.linalg.qr(normal(1, 40, 40)).Q
    after = 3 * before @ rotation - 7
    assert linear_cka(before, after) == pytest.approx(1)
    assert cosine_drift(before, after) > 0.5
    assert linear_cka(before + 1000, after) == pytest.approx(1, abs=1e-4)


def test_cka_of_unrelated_states_is_near_zero_with_far_fewer_prompts_than_features():
    values = [linear_cka(normal(2 * k, 16, 300), normal(2 * k + 1, 16, 300)) for k in range(20)]
    assert abs(np.mean(values)) < 0.05
    assert min(values) < 0  # the biased estimator, near 0.95 here, never is


def test_cka_is_unknown_with_three_prompts_or_without_variation():
    assert linear_cka(normal(0, 3, 5), normal(1, 3, 5)) is None
    assert linear_cka(torch.ones(6, 5), normal(1, 6, 5)) is None
