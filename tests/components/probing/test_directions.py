"""Directions, separation, drift and linear probes on states with known answers."""

from __future__ import annotations

import math

import pytest
import torch

from components.errors import DataError, ModelError
from components.lm.chat import render_prompt
from components.lm.loading import load_model, load_tokenizer
from components.probing.directions import (
    drifts,
    last_token_states,
    layer_probes,
    probe_aucs,
    refusal_directions,
    separations,
)
from components.records import Role, Split

# Two prompts a class, two layers, two features: (prompt, layer, hidden).
HARMFUL = torch.tensor([[[3.0, 4.0], [1.0, 0.0]], [[5.0, 4.0], [3.0, 0.0]]])
BENIGN = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 2.0]]])


def test_direction_is_the_unit_difference_in_means():
    # Layer 1: (4,4) - (1,0) = (3,4), length 5. Layer 2: (2,0) - (0,1) = (2,-1), length sqrt 5.
    expected = torch.tensor([[0.6, 0.8], [2 / math.sqrt(5), -1 / math.sqrt(5)]])
    torch.testing.assert_close(refusal_directions(HARMFUL, BENIGN), expected)


def test_no_difference_in_means_is_an_error():
    with pytest.raises(DataError, match="same mean state at layer 1"):
        refusal_directions(HARMFUL, HARMFUL)


def test_separation_by_hand():
    # Layer 1: 5 over the mean of 5, sqrt 41, 1, 1. Layer 2: sqrt 5 over the mean of 1, 3, 0, 2.
    expected = torch.tensor([5 / ((5 + math.sqrt(41) + 2) / 4), math.sqrt(5) / 1.5])
    torch.testing.assert_close(separations(HARMFUL, BENIGN), expected)


def test_drift_by_hand():
    before = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 2.0], [0.0, 1.0]]])
    after = torch.tensor([[[5.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, -3.0]]])
    # Layer 1: cosines 1 and 1. Layer 2: cosines 0 and -1.
    torch.testing.assert_close(drifts(before, after), torch.tensor([0.0, 1.5]))


def test_auc_of_separable_and_of_meaningless_states():
    generator = torch.Generator().manual_seed(0)
    harmful = torch.randn(60, 2, 8, generator=generator)
    benign = torch.randn(60, 2, 8, generator=generator)
    harmful[:, 1, 3] += 20
    chance, perfect = probe_aucs(harmful, benign, folds=5, seed=0)
    assert perfect == 1
    assert 0.3 < chance < 0.7


@pytest.mark.parametrize(("harmful", "benign"), [(0, 9), (9, 0), (4, 9)])
def test_fewer_rows_than_folds_are_an_error_that_names_the_counts(harmful, benign):
    with pytest.raises(DataError, match=f"{harmful} harmful and {benign} benign"):
        probe_aucs(torch.zeros(harmful, 1, 2), torch.zeros(benign, 1, 2), folds=5, seed=0)


def states(seed: int, layers: int = 2, hidden: int = 4) -> dict[Role, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        role: torch.randn(6, layers, hidden, generator=generator) + index
        for index, role in enumerate((Role.HARMFUL, Role.BENIGN, Role.REASONING))
    }


def test_figures_of_equal_models():
    layers = layer_probes(states(0), states(0), same_lineage=True, folds=2, seed=0)
    assert [layer.layer for layer in layers] == [1, 2]
    for layer in layers:
        assert layer.auc_base == layer.auc_post_trained
        assert layer.separation_base == layer.separation_post_trained
        assert layer.direction_cosine == pytest.approx(1)
        assert layer.drift_harmful == pytest.approx(0, abs=1e-6)
        assert layer.drift_reasoning == pytest.approx(0, abs=1e-6)


def test_pairs_of_other_lineage_have_own_figures_but_none_between():
    layers = layer_probes(states(0), states(1, 3, 8), same_lineage=False, folds=2, seed=0)
    assert [layer.auc_base is None for layer in layers] == [False, False, True]
    assert layers[2].separation_base is None
    for layer in layers:
        between = (layer.direction_cosine, layer.drift_harmful, layer.drift_benign)
        assert (*between, layer.drift_reasoning) == (None,) * 4


def test_states_are_those_of_the_last_prompt_token(random_models, random_prompts):
    folder = random_models.folder / random_models.base.location
    model, tokenizer = load_model(folder, device=torch.device("cpu")), load_tokenizer(folder)
    rows = random_prompts.rows(split=Split.TRAIN, role=Role.BENIGN)[:5]
    found = last_token_states(model, tokenizer, {Role.BENIGN: rows}, batch=2)[Role.BENIGN]
    assert found.shape == (5, 3, 32)
    for row, states_of_row in zip(rows, found, strict=True):
        ids = torch.tensor([render_prompt(tokenizer, row.text)])
        with torch.no_grad():
            hidden = model(input_ids=ids, output_hidden_states=True).hidden_states
        expected = torch.stack([layer[0, -1] for layer in hidden[1:]])
        torch.testing.assert_close(states_of_row, expected, atol=1e-5, rtol=1e-5)


def test_states_that_are_not_finite_are_an_error(random_models, random_prompts):
    folder = random_models.folder / random_models.base.location
    model, tokenizer = load_model(folder, device=torch.device("cpu")), load_tokenizer(folder)
    model.model.norm.weight.data.fill_(float("nan"))
    rows = {Role.BENIGN: random_prompts.rows(split=Split.TRAIN, role=Role.BENIGN)[:1]}
    with pytest.raises(ModelError, match="benign prompts are not finite"):
        last_token_states(model, tokenizer, rows, batch=2)
