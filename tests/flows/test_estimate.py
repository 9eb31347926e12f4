"""Estimates against the models themselves, and against figures worked by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.config import Profile, Shape, load_profile
from components.lm.masks import PROJECTIONS
from flows import estimate
from flows.checkpoints import read_shape, shape_from_config
from flows.estimate import GPUS, Gpu, Memory

PROFILES = Path(__file__).parents[2] / "profiles"
SMALL = Shape(
    layers=2, hidden=64, feed_forward=160, heads=4, kv_heads=2, head_width=16, vocabulary=96
)
# What the hub shows for the model, in billions of parameters.
PUBLISHED = {
    "r1-distill-qwen-1.5b": 1.78,
    "r1-distill-qwen-7b": 7.62,
    "r1-distill-llama-8b": 8.03,
    "qwq-32b": 32.8,
    "qwen3-8b": 8.19,
}


def configuration(architecture: str, shape: Shape):
    from transformers import AutoConfig

    return AutoConfig.for_model(
        architecture,
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_width,
        tie_word_embeddings=shape.tied,
    )


def small_student(architecture: str, *, bf16: bool = True):
    """The small model with LoRA, rank 4, on all seven projections, in training mode."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(
        configuration(architecture, SMALL), dtype=torch.bfloat16 if bf16 else torch.float32
    )
    lora = LoraConfig(r=4, lora_alpha=4, lora_dropout=0.05, target_modules=list(PROJECTIONS))
    return get_peft_model(model, lora).train()


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile(PROFILES / "r1-distill-qwen-7b.yaml")


@pytest.mark.parametrize(
    ("name", "architecture"),
    [("r1-distill-qwen-7b", "qwen2"), ("r1-distill-llama-8b", "llama"), ("qwen3-8b", "qwen3")],
)
def test_parameters_are_those_of_the_real_architecture(name, architecture):
    import torch
    from transformers import AutoModelForCausalLM

    shape = load_profile(PROFILES / f"{name}.yaml").models.shape
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(configuration(architecture, shape))
    assert estimate.parameters(shape) == pytest.approx(model.num_parameters(), rel=1e-3)
    assert shape_from_config(model.config.to_dict()) == shape


@pytest.mark.parametrize("name", PUBLISHED)
def test_shapes_give_the_published_sizes(name):
    shape = load_profile(PROFILES / f"{name}.yaml").models.shape
    assert estimate.parameters(shape) / 1e9 == pytest.approx(PUBLISHED[name], rel=3e-3)


def test_the_adapter_has_as_many_weights_as_peft_makes():
    trained = sum(p.numel() for p in small_student("llama").parameters() if p.requires_grad)
    assert estimate.adapter_parameters(SMALL, rank=4, depth=2) == trained


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_what_training_keeps_is_what_autograd_saves(architecture, precision):
    import torch

    model = small_student(architecture, bf16=precision == "bf16")
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    saved = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    tokens = 96
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.get_base_model().model(
            input_ids=torch.ones(1, tokens, dtype=torch.long), use_cache=False
        )
    measured = sum(size for size, _ in saved.values()) / tokens / SMALL.layers
    assert estimate.kept_bytes(SMALL, precision) == pytest.approx(measured, rel=0.1)


def test_weights_by_hand():
    block = 64 * (2 * 64 + 2 * 32 + 3 * 160)
    assert estimate.block_parameters(SMALL) == block == 43008
    assert estimate.parameters(SMALL) == 2 * block + 2 * 96 * 64
    assert estimate.weight_bytes(SMALL, "bf16") == 2 * estimate.parameters(SMALL)
    # The embeddings stay as they are; a quantised weight takes 4.127 bits.
    assert estimate.weight_bytes(SMALL, "nf4") == pytest.approx(
        2 * block * 4.127 / 8 + 2 * 2 * 96 * 64
    )
    tied = SMALL.model_copy(update={"tied": True})
    assert estimate.parameters(SMALL) - estimate.parameters(tied) == 96 * 64


def test_only_weights_and_adapter_are_shared():
    memory = Memory(weights=8e9, adapter=2e9, passing=3e9)
    assert memory.total - memory.sharded(1) == 0
    assert memory.sharded(1) - memory.sharded(4) == pytest.approx(7.5e9)


def test_a_token_takes_the_reading_of_weights_or_the_launching_of_kernels():
    slow = Gpu("slow", 1, 1, 1e6)
    cache = 8 * 10 * 2 * 2 * 2 * 16 * 2
    reading = (estimate.weight_bytes(SMALL, "bf16") + cache) / (1e6 * 0.6)
    assert estimate.token_seconds(SMALL, slow, batch=8, length=10) == pytest.approx(reading)
    quick = Gpu("quick", 1, 1, 1e15)
    assert estimate.token_seconds(SMALL, quick, batch=8, length=10) == 2e-3


def test_smaller_passes_and_four_bits_need_less(profile):
    shape = profile.models.shape
    whole = profile.model_copy(
        update={"train": profile.train.model_copy(update={"micro_batch": None})}
    )
    one = estimate.training_memory(profile, shape, "bf16")
    assert estimate.training_memory(whole, shape, "bf16").passing == 16 * one.passing
    assert estimate.training_memory(profile, shape, "nf4").weights < 0.4 * one.weights
    assert estimate.memory_needs(profile, shape, "bf16").keys() == {"training", "generation"}


def test_the_deepest_target_bounds_the_student(profile):
    assert estimate.depth_of(profile, profile.models.shape) == 27
    auto = profile.model_copy(
        update={"probe": profile.probe.model_copy(update={"target_layers": "auto"})}
    )
    assert estimate.depth_of(auto, profile.models.shape) == 28


def test_a_quicker_gpu_takes_no_longer(profile):
    shape = profile.models.shape
    for seconds in (estimate.training_seconds, estimate.evaluation_seconds):
        times = [seconds(profile, shape, gpu) for gpu in GPUS]
        assert times == sorted(times, reverse=True) and times[-1] > 0


def test_the_shape_of_a_checkpoint_is_read_from_its_folder(tmp_path):
    from tests.checkpoints import write_checkpoint

    shape = read_shape(write_checkpoint(tmp_path / "pair", architecture="qwen3", hidden=32))
    assert (shape.hidden, shape.layers, shape.head_width) == (32, 3, 8)
    (tmp_path / "pair" / "config.json").write_text('{"hidden_size": 32}')
    assert read_shape(tmp_path / "pair") is None
    assert read_shape(tmp_path / "nothing") is None
    (tmp_path / "cut.gguf").write_bytes(b"GGUF")
    assert read_shape(tmp_path / "cut.gguf") is None
