"""A direction taken out of the residual stream is nowhere in it, and comes back afterwards."""

from __future__ import annotations

import pytest
import torch

from components.core.errors import ModelError
from components.lm.ablation import ablated, project_out
from components.lm.loading import load_model
from components.lm.states import backbone
from tests.checkpoints import write_checkpoint

IDS = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])


@pytest.fixture(scope="module", params=["llama", "gemma2"], ids=lambda name: name)
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return load_model(write_checkpoint(folder, architecture=request.param))


@pytest.fixture
def direction():
    return torch.randn(32, generator=torch.Generator().manual_seed(3))


def readings(model) -> tuple[dict[str, torch.Tensor], list]:
    """What attention, MLP and final norm of every block read, once the model runs."""
    read: dict[str, torch.Tensor] = {}
    decoder = backbone(model)
    norms = {"final": decoder.norm}
    for number, block in enumerate(decoder.layers):
        norms[f"attention {number}"] = block.input_layernorm
        name = "pre_feedforward_layernorm"
        norms[f"mlp {number}"] = getattr(block, name, block.post_attention_layernorm)
    handles = [
        norm.register_forward_pre_hook(
            lambda _, inputs, name=name: read.__setitem__(name, inputs[0])
        )
        for name, norm in norms.items()
    ]
    return read, handles


def test_the_projection_by_hand():
    # r = (0.6, 0.8): of (5, 10) the component is 11, so 11 r = (6.6, 8.8) goes.
    direction = torch.tensor([0.6, 0.8])
    states = torch.tensor([[[5.0, 10.0], [0.8, -0.6]]])
    expected = torch.tensor([[[-1.6, 1.2], [0.8, -0.6]]])
    torch.testing.assert_close(project_out(states, direction), expected)


def test_the_projection_keeps_the_precision_of_the_states():
    states = torch.tensor([[3.0, 4.0]], dtype=torch.bfloat16)
    found = project_out(states, torch.tensor([1.0, 0.0]))
    assert found.dtype is torch.bfloat16 and found.tolist() == [[0.0, 4.0]]


@torch.inference_mode()
def test_nothing_reads_a_component_along_the_direction(model, direction):
    with ablated(model, direction):
        read, handles = readings(model)
        model(input_ids=IDS)
        for handle in handles:
            handle.remove()
    assert len(read) == 2 * 3 + 1
    unit = direction / direction.norm()
    for name, states in read.items():
        torch.testing.assert_close(
            states @ unit, torch.zeros(2, 4), atol=1e-5, rtol=0, msg=f"{name} reads it"
        )


# In Gemma, norms stand between what is written and the stream.
@pytest.mark.parametrize("model", ["llama"], indirect=True)
@torch.inference_mode()
def test_it_is_the_model_whose_every_write_is_projected(model, direction):
    """A slow second implementation: the weights that write the stream, orthogonalised."""
    with ablated(model, direction):
        found = model(input_ids=IDS).logits
    unit = direction / direction.norm()
    decoder = backbone(model)
    embedding = decoder.embed_tokens.weight
    writers = [embedding.data.T] + [
        weight.data
        for block in decoder.layers
        for weight in (block.self_attn.o_proj.weight, block.mlp.down_proj.weight)
    ]
    before = [writer.clone() for writer in writers]
    head = model.lm_head.weight.data.clone()
    for writer in writers:
        writer -= torch.outer(unit, unit @ writer)
    model.lm_head.weight.data = head  # where it is tied to the embedding
    expected = model(input_ids=IDS).logits
    for writer, kept in zip(writers, before, strict=True):
        writer.copy_(kept)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


@torch.inference_mode()
def test_the_model_is_itself_again_afterwards(model, direction):
    whole = model(input_ids=IDS).logits
    with ablated(model, direction):
        assert not torch.allclose(model(input_ids=IDS).logits, whole)
    assert torch.equal(model(input_ids=IDS).logits, whole)
    with pytest.raises(RuntimeError), ablated(model, direction):
        raise RuntimeError
    assert torch.equal(model(input_ids=IDS).logits, whole)


@torch.inference_mode()
def test_the_length_of_the_direction_does_not_matter(model, direction):
    with ablated(model, direction):
        one = model(input_ids=IDS).logits
    with ablated(model, 100 * direction):
        torch.testing.assert_close(model(input_ids=IDS).logits, one)


@pytest.mark.parametrize(
    "wrong", [torch.ones(31), torch.ones(1, 32), torch.zeros(32), torch.full((32,), torch.nan)]
)
def test_what_is_no_direction_is_refused(model, wrong):
    with pytest.raises(ModelError, match="a vector of 32 finite numbers"), ablated(model, wrong):
        pass
