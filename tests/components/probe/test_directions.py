"""Refusal axes on states with known answers; states of the last prompt token, on disk, finite."""

from __future__ import annotations

import math

import pytest
import torch

from components.core.errors import DataError, ModelError
from components.core.vocabulary import Role, Split
from components.lm.chat import render_prompt
from components.probe.directions import last_token_states, refusal_axis

# Two layers, two prompts a class, two features: (layer, prompt, hidden).
HARMFUL = torch.tensor([[[3.0, 4.0], [5.0, 4.0]], [[1.0, 0.0], [3.0, 0.0]]])
BENIGN = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 2.0]]])


def test_direction_is_the_unit_difference_in_means():
    # Layer 1: (4,4) - (1,0) = (3,4), length 5. Layer 2: (2,0) - (0,1) = (2,-1), length sqrt 5.
    axis = refusal_axis({Role.HARMFUL: HARMFUL, Role.BENIGN: BENIGN})
    expected = torch.tensor([[0.6, 0.8], [2 / math.sqrt(5), -1 / math.sqrt(5)]])
    torch.testing.assert_close(axis.directions, expected)
    torch.testing.assert_close(axis.lengths, torch.tensor([5.0, math.sqrt(5)]))
    torch.testing.assert_close(axis.origins, torch.tensor([0.6, -1 / math.sqrt(5)]))


def test_the_axis_runs_from_the_benign_to_the_harmful_mean():
    axis = refusal_axis({Role.HARMFUL: HARMFUL, Role.BENIGN: BENIGN})
    # Layer 1: (1,0) + t (3,4), and along (4,-3) nothing changes.
    states = torch.tensor([[1.0, 0.0], [4.0, 4.0], [2.5, 2.0], [2.5 + 4, 2.0 - 3], [-2.0, -4.0]])
    expected = torch.tensor([0.0, 1.0, 0.5, 0.5, -1.0])
    torch.testing.assert_close(axis.project(states, 1), expected)
    assert axis.project(torch.tensor([[2.0, 0.0]]), 2).item() == pytest.approx(1)


def test_no_difference_in_means_is_an_error():
    equal = torch.stack((HARMFUL[0], BENIGN[1]))
    with pytest.raises(DataError, match="same mean state at layer 2"):
        refusal_axis({Role.HARMFUL: equal, Role.BENIGN: BENIGN})


def test_states_are_those_of_the_last_prompt_token(random_model, random_prompts, tmp_path):
    model, tokenizer = random_model.model, random_model.tokenizer
    rows = random_prompts.rows(split=Split.TRAIN, role=Role.BENIGN)[:5]
    states = last_token_states(random_model, {Role.BENIGN: rows}, folder=tmp_path)
    found = states[Role.BENIGN]
    assert found.shape == (3, 5, 32)
    for k, row in enumerate(rows):
        ids = torch.tensor([render_prompt(tokenizer, row.text)])
        with torch.no_grad():
            hidden = model(input_ids=ids, output_hidden_states=True).hidden_states
        expected = torch.stack([layer[0, -1] for layer in hidden[1:]])
        torch.testing.assert_close(found[:, k], expected, atol=1e-5, rtol=1e-5)


def test_they_lie_on_disk_layer_by_layer(random_model, random_prompts, tmp_path):
    rows = {role: random_prompts.rows(role=role)[:4] for role in (Role.HARMFUL, Role.BENIGN)}
    states = last_token_states(random_model, rows, folder=tmp_path)
    for role, found in states.items():
        stored = torch.frombuffer(
            bytearray((tmp_path / f"{role}.bin").read_bytes()), dtype=torch.float32
        )
        assert torch.equal(stored.reshape(3, 4, 32), found)


def test_states_that_are_not_finite_are_an_error(random_model, random_prompts, tmp_path):
    random_model.model.model.norm.weight.data.fill_(float("nan"))
    rows = {Role.BENIGN: random_prompts.rows(split=Split.TRAIN, role=Role.BENIGN)[:1]}
    with pytest.raises(ModelError, match=r"hidden states .* are not finite"):
        last_token_states(random_model, rows, folder=tmp_path)
