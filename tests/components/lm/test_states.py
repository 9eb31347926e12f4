"""Hidden states by hooks equal those of transformers, with and without padding and adapters."""

from __future__ import annotations

import copy

import pytest
import torch

from components.core.errors import ModelError
from components.lm.batches import by_length, pad_left, positions_of
from components.lm.loading import load_model
from components.lm.states import (
    backbone,
    captured_states,
    hidden_states,
    states_from_end,
    truncated,
)
from tests.checkpoints import write_checkpoint

SEQUENCES = [[5, 6, 7], [8, 9, 10, 11, 12, 13, 14], [15, 16], [17, 18, 19, 20]]


@pytest.fixture(
    scope="module", params=["llama", "qwen2", "qwen3", "gemma", "mistral"], ids=lambda name: name
)
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return load_model(write_checkpoint(folder, architecture=request.param))


def test_layers_are_numbered_as_in_transformers(model):
    states = states_from_end(model, SEQUENCES[1:2], layers=[1, 2, 3], pad=0, batch=1)
    with torch.inference_mode():
        reference = model(torch.tensor(SEQUENCES[1:2]), output_hidden_states=True).hidden_states
    assert states.shape == (1, 1, 3, 32)
    for i, layer in enumerate((1, 2, 3)):
        torch.testing.assert_close(states[0, 0, i], reference[layer][0, -1])


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_left_padding_changes_nothing(model, batch):
    states = states_from_end(model, SEQUENCES, layers=[1, 3], pad=0, batch=batch, last=2)
    assert states.shape == (4, 2, 2, 32)
    for i, sequence in enumerate(SEQUENCES):
        alone = states_from_end(model, [sequence], layers=[1, 3], pad=0, batch=1, last=2)
        torch.testing.assert_close(states[i], alone[0], atol=1e-5, rtol=1e-4)


def test_hooks_are_gone_after_an_error(model):
    with pytest.raises(RuntimeError), captured_states(model, [1]):
        raise RuntimeError
    with captured_states(model, [2]) as states, torch.inference_mode():
        backbone(model)(input_ids=torch.tensor([[5, 6]]))
    assert list(states) == [2]


@pytest.mark.parametrize("layers", [[1], [2], [1, 2], [1, 3]])
def test_states_are_bit_for_bit_those_of_the_whole_model(model, layers):
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
    with torch.inference_mode():
        with captured_states(model, layers) as whole:
            model(input_ids=ids)
        states = hidden_states(model, ids, layers)
    for layer, state in zip(layers, states, strict=True):
        assert torch.equal(state, whole[layer])


def test_blocks_above_do_not_run_and_the_head_is_asked_for_nothing(model):
    seen = []
    blocks = list(backbone(model).layers)
    handles = [
        module.register_forward_hook(lambda m, _, output, name=name: seen.append((name, output)))
        for name, module in {"second": blocks[1], "third": blocks[2], "head": model.lm_head}.items()
    ]
    hidden_states(model, torch.tensor([[5, 6, 7]]), [2])
    for handle in handles:
        handle.remove()
    assert [name for name, _ in seen] == ["second", "head"]
    assert seen[-1][1].numel() == 0
    assert list(backbone(model).layers) == blocks


def test_the_whole_decoder_is_back_after_an_error(model):
    with pytest.raises(RuntimeError), truncated(model, 1):
        assert len(backbone(model).layers) == 1
        raise RuntimeError
    assert len(backbone(model).layers) == 3


@pytest.mark.parametrize("layer", [0, 4, -1])
def test_a_layer_that_is_not_there_is_named(model, layer):
    with pytest.raises(ModelError, match=f"layer {layer} is not there.*1 to 3"):
        states_from_end(model, SEQUENCES, layers=[layer], pad=0, batch=2)


def test_a_sequence_that_is_too_short_is_refused(model):
    with pytest.raises(ModelError, match="shorter than the 3 positions"):
        states_from_end(model, SEQUENCES, layers=[1], pad=0, batch=2, last=3)


def test_an_unknown_architecture_is_refused():
    with pytest.raises(ModelError, match="Linear is not supported"):
        backbone(torch.nn.Linear(2, 2))


def test_padding_and_positions_by_hand():
    ids, mask = pad_left([[7, 8, 9], [5]], pad=1)
    assert ids.tolist() == [[7, 8, 9], [1, 1, 5]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert positions_of(mask).tolist() == [[0, 1, 2], [0, 0, 0]]


def test_batches_hold_every_row_once_and_the_longest_first():
    assert list(by_length(SEQUENCES, 3)) == [[1, 3, 0], [2]]
    assert list(by_length([], 3)) == []


def test_states_that_overflow_are_an_error(model):
    damaged = copy.deepcopy(model)
    with torch.no_grad():
        backbone(damaged).norm.weight.fill_(3.3e38)
    with pytest.raises(ModelError, match=r"hidden states.*not finite"):
        states_from_end(damaged, SEQUENCES, layers=[1, 3], pad=0, batch=2)
