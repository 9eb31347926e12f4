"""What heads write: all of them together is what attention writes; and without some of them."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from components.core.errors import ModelError
from components.lm.heads import Head, head_contributions, without_heads
from components.lm.loading import load_model
from tests.checkpoints import write_checkpoint

SEQUENCES = [[5, 6, 7, 8], [9, 10], [11, 12, 13]]  # of different lengths, so some are padded


@pytest.fixture(scope="module", params=["llama", "qwen2"], ids=lambda name: name)
def model(request, tmp_path_factory):
    """Two query heads a key, and in the second one biases."""
    folder = tmp_path_factory.mktemp(request.param)
    loaded = load_model(write_checkpoint(folder, architecture=request.param))
    assert loaded.config.num_attention_heads == 2 * loaded.config.num_key_value_heads
    return loaded


@pytest.fixture
def unit():
    drawn = torch.randn(32, generator=torch.Generator().manual_seed(3))
    return drawn / drawn.norm()


def written(model, sequence):
    """What the attention of every block writes at the last position."""
    outputs = {}
    hooks = [
        block.self_attn.register_forward_hook(
            lambda module, inputs, out, number=number: outputs.__setitem__(number, out[0][0, -1])
        )
        for number, block in enumerate(model.model.layers)
    ]
    with torch.no_grad():
        model(torch.tensor([sequence]))
    for hook in hooks:
        hook.remove()
    return torch.stack([outputs[number] for number in sorted(outputs)])


def test_the_heads_together_write_what_attention_writes(model, unit):
    found = head_contributions(model, SEQUENCES, unit, pad=0, batch=2)
    assert found.shape == (3, 4)
    expected = torch.stack([written(model, s) @ unit for s in SEQUENCES]).mean(dim=0)
    torch.testing.assert_close(found.sum(dim=1), expected, atol=1e-5, rtol=1e-4)


def test_a_head_writes_what_is_lacking_without_it(model, unit):
    """In the first block, which reads the same with and without it."""
    found = head_contributions(model, SEQUENCES, unit, pad=0, batch=8)[0]
    whole = torch.stack([written(model, s)[0] @ unit for s in SEQUENCES]).mean()
    for head in range(4):
        with without_heads(model, [Head(1, head)]):
            rest = torch.stack([written(model, s)[0] @ unit for s in SEQUENCES]).mean()
        torch.testing.assert_close(whole - rest, found[head], atol=1e-5, rtol=1e-4)


def test_the_weights_come_back_bit_for_bit_even_after_an_error(model):
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    with pytest.raises(KeyError), without_heads(model, [Head(1, 0), Head(3, 3), Head(1, 0)]):
        raise KeyError
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())


def test_an_o_proj_that_does_not_read_heads_is_refused(model, unit):
    model = deepcopy(model)
    model.config.num_attention_heads = 3
    with pytest.raises(ModelError, match="o_proj of block 1 reads 32 numbers, not 3 heads of 8"):
        head_contributions(model, SEQUENCES, unit, pad=0, batch=8)
    model.model.layers[1].self_attn.o_proj = torch.nn.Identity()
    with pytest.raises(ModelError, match="not supported"), without_heads(model, []):
        pass
