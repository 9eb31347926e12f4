"""Figures of the layers of equal models and of a pair of different lineage."""

from __future__ import annotations

import pytest
import torch

from components.core.vocabulary import Prompt, Role, Split
from components.probe.directions import refusal_axis
from components.probe.layers import layer_probes
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
