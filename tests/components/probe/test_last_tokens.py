"""States of the last prompt token: the right ones, on disk, finite."""

from __future__ import annotations

import pytest
import torch

from components.core.errors import ModelError
from components.core.vocabulary import Role, Split
from components.lm.chat import render_prompt
from components.probe.last_tokens import last_token_states


def test_states_are_those_of_the_last_prompt_token(random_model, random_prompts, tmp_path):
    model, tokenizer = random_model
    rows = random_prompts.rows(split=Split.TRAIN, role=Role.BENIGN)[:5]
    states = last_token_states(model, tokenizer, {Role.BENIGN: rows}, batch=2, folder=tmp_path)
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
    states = last_token_states(*random_model, rows, batch=3, folder=tmp_path)
    for role, found in states.items():
        stored = torch.frombuffer(
            bytearray((tmp_path / f"{role}.bin").read_bytes()), dtype=torch.float32
        )
        assert torch.equal(stored.reshape(3, 4, 32), found)


def test_states_that_are_not_finite_are_an_error(random_model, random_prompts, tmp_path):
    model, tokenizer = random_model
    model.model.norm.weight.data.fill_(float("nan"))
    rows = {Role.BENIGN: random_prompts.rows(split=Split.TRAIN, role=Role.BENIGN)[:1]}
    with pytest.raises(ModelError, match="benign prompts are not finite"):
        last_token_states(model, tokenizer, rows, batch=2, folder=tmp_path)
