"""Each architecture is supported, and then all of the method is right on it, or refused early."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from components.core.errors import ModelError
from components.lm.ablation import ablated
from components.lm.adapters import merge_adapter
from components.lm.architecture import check_supported, mlp_readers
from components.lm.generation import generate
from components.lm.loading import load_model, load_tokenizer
from components.lm.masks import projections
from components.lm.states import backbone, states_from_end
from components.models.checkpoints import check_complete
from tests.checkpoints import write_checkpoint
from tests.components.lm.architectures import REFUSED, SUPPORTED, shapes

ALL = sorted(kind for kinds in SUPPORTED.values() for kind in kinds)
REASONS = {kind: reason for reason, kinds in REFUSED.items() for kind in kinds}
TOLD = {
    "a mixture of experts": "is a mixture of experts",
    "weights that masks and adapters would not cover": "has weights that neither masks nor",
    "an MLP without a gate": r"its projections are .*mlp\.gate_proj",
    "no decoder blocks at model.layers": "no decoder blocks at model.layers",
}
SEQUENCES = [[5, 6, 7], [8, 9, 10, 11, 12, 13, 14], [15, 16], [17, 18, 19, 20]]
# Through which module of a block its MLP reads the stream, by wiring and where one differs.
READER = {
    "a norm before attention and before the MLP": "post_attention_layernorm",
    "vaultgemma": "pre_feedforward_layernorm",
    "a norm before and after each": "pre_feedforward_layernorm",
    "hyperclovax": "post_attention_layernorm",
    "a norm after each": "mlp",
    "one norm, and attention beside the MLP": "input_layernorm",
}
AFTER_ATTENTION = "a norm before and after each", "a norm after each"


def test_thirty_architectures_are_told_apart():
    assert len(ALL) >= 30 and len(REASONS) >= 30
    assert not set(ALL) & set(REASONS)


@pytest.mark.parametrize("kind", ALL)
def test_it_is_found_fit_without_memory_and_its_mlp_reads_the_stream(kind):
    model = shapes(kind)
    check_supported(model)
    assert next(model.parameters()).is_meta
    names = {module: path for path, module in backbone(model).layers[1].named_modules()}
    wiring = next(wiring for wiring, kinds in SUPPORTED.items() if kind in kinds)
    assert names[mlp_readers(model)[1]] == READER.get(kind, READER[wiring])


@pytest.mark.parametrize("kind", REASONS)
def test_it_is_refused_in_one_message(kind):
    with pytest.raises(ModelError, match=TOLD[REASONS[kind]]) as refusal:
        check_supported(shapes(kind))
    assert "\n" not in str(refusal.value)


def spoil_called_twice(model):
    block = model.model.layers[1]
    plain = block.mlp.forward
    block.mlp.forward = lambda states: plain(states) + block.mlp.up_proj(states).sum()


def spoil_functional_norm(model):
    # A norm that is no module: the MLP reads something that nobody can be seen to write.
    block = model.model.layers[2]
    block.post_attention_layernorm.register_forward_hook(lambda m, i, out: out * 2)
    block.post_attention_layernorm = torch.nn.Sequential(torch.nn.Identity())
    block.mlp.register_forward_pre_hook(lambda m, args: (args[0] * 1.5,))


def spoil_order(model):
    blocks = model.model.layers
    blocks[1].register_forward_pre_hook(lambda m, args: (args[0] + 1, *args[1:]))


def spoil_outside(model):
    model.tower = torch.nn.ModuleDict({"q_proj": torch.nn.Linear(4, 4)})


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (spoil_called_twice, r"a Linear in it runs 2 times"),
        (spoil_functional_norm, "how the MLP of block 3 reads"),
        (spoil_order, "block 2 does not read what the block before it wrote"),
        (spoil_outside, "outside the decoder blocks, such as tower.q_proj"),
    ],
)
def test_a_wiring_that_hooks_would_misread_is_refused(spoil, told):
    model = shapes("llama")
    check_supported(model)
    spoil(model)
    with pytest.raises(ModelError, match=told):
        check_supported(model)


@pytest.fixture(scope="module", params=ALL)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def checkpoint(kind, tmp_path_factory):
    folder = write_checkpoint(tmp_path_factory.mktemp(kind), architecture=kind)
    check_complete(folder)
    return folder


@pytest.fixture(scope="module")
def model(checkpoint):
    return load_model(checkpoint, device=torch.device("cpu"))


@pytest.mark.slow
@torch.inference_mode()
def test_hidden_states_are_those_of_transformers(model):
    found = states_from_end(model, SEQUENCES, layers=[1, 2, 3], pad=0, batch=3, last=2)
    for row, sequence in enumerate(SEQUENCES):
        alone = model(torch.tensor([sequence]), output_hidden_states=True).hidden_states
        for i, layer in enumerate((1, 2, 3)):
            torch.testing.assert_close(found[row, :, i], alone[layer][0, -2:], atol=2e-5, rtol=1e-3)


@pytest.mark.slow
@torch.inference_mode()
def test_norms_of_inputs_are_those_of_each_answer_alone(model):
    from components.probe.answers import Exchange
    from components.probe.set_difference import input_norms

    exchanges = [Exchange(sequence[:-1], sequence[-1:] * 2) for sequence in SEQUENCES]
    squares = dict.fromkeys(projections(model), 0.0)
    for exchange in exchanges:
        seen = {}
        hooks = [
            linear.register_forward_hook(
                lambda m, inputs, out, name=name, seen=seen: seen.update({name: inputs[0][0]})
            )
            for name, linear in projections(model).items()
        ]
        model(torch.tensor([[*exchange.prompt, *exchange.response]]))
        for hook in hooks:
            hook.remove()
        for name, states in seen.items():
            squares[name] = squares[name] + states[len(exchange.prompt) :].double().square().sum(0)
    found = input_norms(model, exchanges, pad=0, batch=3)
    for name, square in squares.items():
        torch.testing.assert_close(found[name], square.sqrt(), atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@torch.inference_mode()
def test_greedy_completions_are_those_of_a_loop_without_a_cache(model, checkpoint):
    tokenizer = load_tokenizer(checkpoint)
    found = generate(model, tokenizer, SEQUENCES, max_new_tokens=6, batch=3)
    for prompt, written in zip(SEQUENCES, found, strict=True):
        ids = list(prompt)
        while len(ids) < len(prompt) + 6:
            ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
            if ids[-1] == tokenizer.eos_token_id:
                break
        assert written == ids[len(prompt) :]


@pytest.mark.slow
def test_an_adapter_is_the_sum_of_its_products_and_merges(model, checkpoint, tmp_path):
    from components.lm.chat import prompt_contract
    from components.train.adapters import BaseName, add_lora, save_lora
    from components.train.settings import Lora

    ids = torch.tensor([SEQUENCES[1]])
    lora = Lora(r=2, alpha=6, dropout=0)
    adapted = add_lora(deepcopy(model), lora, layers=(1, 3), base=BaseName("x"), seed=1)
    generator = torch.Generator().manual_seed(2)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data.copy_(torch.randn(weight.shape, generator=generator) / 8)
    save_lora(adapted, tmp_path / "adapter", prompt_contract(load_tokenizer(checkpoint)))
    by_hand, merged = deepcopy(model), deepcopy(model)
    lora = dict(adapted.named_parameters())
    for name, linear in projections(by_hand).items():
        a, b = (
            lora.get(f"base_model.model.model.{name}.lora_{side}.default.weight") for side in "AB"
        )
        assert (a is None) == name.startswith("layers.1.")
        if a is not None:
            linear.weight.data += 3 * (b @ a)
    with torch.inference_mode():
        expected = by_hand(ids).logits
        torch.testing.assert_close(adapted.eval()(ids).logits, expected, atol=1e-4, rtol=1e-3)
        merged = merge_adapter(merged, tmp_path / "adapter")
        torch.testing.assert_close(merged(ids).logits, expected, atol=1e-4, rtol=1e-3)
        assert not torch.allclose(model(ids).logits, expected, atol=1e-4)


def writers(kind, model):
    """What adds to the residual stream: the embedding, and the end of attention and MLP."""
    names = {
        "hyperclovax": ("post_norm1", "post_norm2"),
        **dict.fromkeys(
            (k for wiring in AFTER_ATTENTION for k in SUPPORTED[wiring] if k != "hyperclovax"),
            ("post_attention_layernorm", "post_feedforward_layernorm"),
        ),
    }.get(kind, ("self_attn.o_proj", "mlp.down_proj"))
    decoder = backbone(model)
    return [decoder.embed_tokens] + [
        block.get_submodule(name) for block in decoder.layers for name in names
    ]


@pytest.mark.slow
@torch.inference_mode()
def test_ablated_is_the_model_whose_every_write_is_projected(kind, model):
    direction = torch.randn(32, generator=torch.Generator().manual_seed(3))
    ids = torch.tensor([SEQUENCES[1]])
    with ablated(model, direction):
        found = model(ids).logits
    unit = direction / direction.norm()
    hooks = [
        module.register_forward_hook(lambda m, i, out: out - (out @ unit)[..., None] * unit)
        for module in writers(kind, model)
    ]
    expected = model(ids).logits
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
    assert not torch.allclose(model(ids).logits, expected, atol=1e-4)
