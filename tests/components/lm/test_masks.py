"""Masks: packed and back, on disk, and in a model that is restored bit by bit."""

from __future__ import annotations

import pytest
import torch

from components.core.errors import ModelError, StageError
from components.lm.loading import load_model
from components.lm.masks import PackedMask, load_masks, projections, pruned, save_masks
from tests.checkpoints import write_checkpoint

ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma", "mistral")


@pytest.fixture
def model(tmp_path):
    return load_model(write_checkpoint(tmp_path / "model", layers=2), device=torch.device("cpu"))


@pytest.fixture
def masks(model):
    generator = torch.Generator().manual_seed(0)
    return {
        name: PackedMask.of(torch.rand(linear.weight.shape, generator=generator) < 0.1)
        for name, linear in projections(model).items()
    }


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_seven_projections_a_block(tmp_path, architecture):
    folder = write_checkpoint(tmp_path, architecture=architecture, layers=2)
    names = list(projections(load_model(folder, device=torch.device("cpu"))))
    assert len(names) == 14
    assert "layers.1.mlp.down_proj" in names and "layers.0.self_attn.q_proj" in names


def test_projections_are_the_base_weights_below_an_adapter(model):
    from peft import LoraConfig, get_peft_model

    before = {name: linear.weight for name, linear in projections(model).items()}
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "down_proj"]))
    after = projections(adapted)
    assert before.keys() == after.keys()
    assert all(after[name].weight is weight for name, weight in before.items())


def test_a_block_of_other_projections_is_an_error(model):
    del model.model.layers[1].mlp.up_proj
    with pytest.raises(ModelError, match=r"block 2 of LlamaForCausalLM is not supported.*up_proj"):
        projections(model)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (8, 8), (7, 33)])
def test_packed_and_back(shape):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.5
    packed = PackedMask.of(mask)
    assert packed.bits.dtype == torch.uint8 and packed.bits.numel() == (mask.numel() + 7) // 8
    assert (packed.weights, packed.removed) == (mask.numel(), int(mask.sum()))
    assert torch.equal(packed.unpacked(), mask)
    assert packed.unpacked().dtype == torch.bool


def test_bits_run_row_by_row():
    mask = torch.tensor([[True, False, False, False], [True, True, False, False]])
    assert PackedMask.of(mask).bits.tolist() == [0b10001100]


def test_masks_of_seven_billion_weights_take_less_than_a_gigabyte():
    # The projections of 32 blocks: hidden 4096, key and value 1024, feed-forward 14336.
    block = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336
    one = PackedMask.of(torch.zeros(4096, 1024, dtype=torch.bool))
    assert one.bits.nbytes * 32 * block / one.weights < 1e9


def test_bytes_of_another_shape_are_an_error():
    with pytest.raises(StageError, match="cannot have 2 bytes"):
        PackedMask(torch.zeros(2, dtype=torch.uint8), (4, 5))


def test_saved_and_loaded_alike_with_the_same_bytes(masks, tmp_path):
    save_masks(tmp_path / "a", masks)
    save_masks(tmp_path / "b", dict(reversed(masks.items())))
    loaded = load_masks(tmp_path / "a")
    assert loaded.keys() == masks.keys()
    for name in masks:
        assert loaded[name].shape == masks[name].shape
        assert torch.equal(loaded[name].bits, masks[name].bits)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("content", [None, b"", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_missing_or_broken_file_is_one_message(tmp_path, content):
    path = tmp_path / "masks.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StageError, match="run the stage `probe` again"):
        load_masks(path)


def test_pruned_zeroes_the_masked_weights_and_no_others(model, masks):
    before = {name: linear.weight.clone() for name, linear in projections(model).items()}
    with pruned(model, masks):
        for name, linear in projections(model).items():
            expected = torch.where(masks[name].unpacked(), 0, before[name])
            assert torch.equal(linear.weight, expected)


@pytest.mark.parametrize("fails", [False, True])
def test_pruned_restores_every_bit_also_after_an_exception(model, masks, fails):
    name, linear = next(iter(projections(model).items()))
    mask = masks[name].unpacked()
    mask[0, :2] = True
    masks[name] = PackedMask.of(mask)
    with torch.no_grad():
        linear.weight[0, 0], linear.weight[0, 1] = -0.0, float("nan")
    bits = {key: value.view(torch.int32).clone() for key, value in model.state_dict().items()}
    try:
        with pruned(model, masks):
            if fails:
                raise KeyError("something else")
    except KeyError:
        assert fails
    after = {key: value.view(torch.int32) for key, value in model.state_dict().items()}
    assert all(torch.equal(after[key], bits[key]) for key in bits)


def test_masks_of_another_model_touch_nothing(model, masks):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    last = list(masks)[-1]
    others = [
        {name: mask for name, mask in masks.items() if name != last},
        {**masks, "layers.2.mlp.up_proj": masks[last]},
        {**masks, last: PackedMask.of(masks[last].unpacked().T.contiguous())},
    ]
    for other in others:
        with pytest.raises(ModelError, match="masks are of another model"), pruned(model, other):
            pass
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
