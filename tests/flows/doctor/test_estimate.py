"""Estimates against the models themselves, and against figures worked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from components.core.vocabulary import Role
from components.judges.settings import GuardSettings, RubricSettings
from components.lm.engines.protocol import CACHED_TOKENS
from components.lm.masks import PROJECTIONS
from components.models.settings import Shape
from components.profile import Profile, load_profile
from flows.doctor import estimate
from flows.doctor.checkpoints import read_shape, shape_from_config
from flows.doctor.estimate import Estimate, Memory, Workload
from tests.root import ROOT

PROFILES = ROOT / "profiles"
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


GUARD = GuardSettings(kind="wildguard", model="a/guard", revision="0" * 40, batch=4)
LOAD = Workload(Role.HARMFUL, "rules", completions=200, prompt=100, tokens=900)


def judged_by(profile: Profile, **judges) -> Profile:
    evaluate = profile.evaluate.model_copy(update={"judges": judges})
    return profile.model_copy(update={"evaluate": evaluate})


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


def trained(profile: Profile, **changes) -> Profile:
    return profile.model_copy(update={"train": profile.train.model_copy(update=changes)})


def test_seven_billion_parameters_are_trained_within_20_gb(profile):
    """15.2 GB of weights in bf16, and one row of each kind in a pass. A token leaves 520 KB in a
    block, with checkpoints 7 KB (tests/components/train/test_activations.py counts both)."""
    shape = profile.models.shape
    assert profile.train.micro_batch == 1 and estimate.weight_bytes(shape, "bf16") > 15e9
    for method in ("safereact", "distil"):
        own = trained(profile, method=method)
        kept = Estimate(own, shape).training()
        again = Estimate(own, shape).training(checkpointed=True)
        assert again.total < 20e9 < 30e9 < kept.total < 33e9
        assert again.weights == kept.weights and again.adapter == kept.adapter


def test_a_step_by_hand(profile):
    """Three rows of a harmful and a retained sequence, 20 + 4 and 20 + 8 tokens, in two blocks."""
    own = trained(profile, micro_batch=3, max_prompt_tokens=20, refusal_tokens=4, retain_tokens=8)
    own = own.model_copy(update={"probe": profile.probe.model_copy(update={"target_layers": (2,)})})
    block = 48 * 64 + 14 * 160 + 12 * 64 + 4 * 32
    compared = 3 * 28 * 2 * 64 * (2 + 4)
    logits = 3 * 8 * 96 * 12
    kept = Estimate(own, SMALL).training().passing
    assert kept == 3 * 52 * 2 * block + compared + logits
    again = Estimate(own, SMALL).training(checkpointed=True).passing
    assert again == 3 * 52 * (2 * 64 * 2 + block) + compared + logits
    tokens = trained(own, method="distil")
    more = Estimate(tokens, SMALL).training().passing - kept
    assert more == 3 * 4 * 96 * 12 - compared
    shallow = own.model_copy(
        update={"probe": profile.probe.model_copy(update={"target_layers": (1,)})}
    )
    assert [
        estimate.depth_of(trained(shallow, method=name), SMALL) for name in ("safereact", "distil")
    ] == [1, 2]


def test_what_training_stores_by_hand(profile):
    """Per form 3 refusals of 4 tokens and 5 retained answers of 8, each token with 2 likely ones of
    12 bytes, and states of 64 numbers: 6 of a refusal at one layer, 28 of an answer at two."""
    own = trained(
        profile, harmful_prompts=3, retain_prompts=5, refusal_tokens=4, retain_tokens=8,
        prompt_tokens=2, max_prompt_tokens=20, likeliest=2,
    )  # fmt: skip
    own = own.model_copy(update={"probe": profile.probe.model_copy(update={"target_layers": (2,)})})

    def stored(method: str) -> float:
        one, two = (
            Estimate(trained(own, method=method, forms=forms), SMALL).disk()
            for forms in (("served",), ("served", "prefilled"))
        )
        return two - one

    likely, refusals = (3 * 4 + 5 * 8) * 2 * 12, 3 * 6 * 64 * 4
    assert stored("distil") == likely + refusals
    assert stored("safereact") == likely + refusals + 5 * 28 * 2 * 64 * 4


def test_scarce_memory_asks_for_checkpoints_unless_the_profile_says(profile):
    shape = profile.models.shape

    def asks(device: float, **changes) -> bool:
        return Estimate(trained(profile, **changes), shape).checkpoints(device)

    assert [asks(size * 1e9) for size in (16, 24, 80)] == [True, True, False]
    assert asks(80e9, checkpoint_activations=True)
    assert not asks(16e9, checkpoint_activations=False)


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
    memory = Memory(weights=8e9, adapter=2e9, passing=6e9)
    assert memory.total - memory.on_each_of(1) == 0
    assert memory.on_each_of(1) - memory.on_each_of(4) == pytest.approx(7.5e9)


def test_each_device_loads_the_weights_whole_before_they_are_shared():
    memory = Memory(weights=8e9, adapter=2e9, passing=1e9)
    assert memory.on_each_of(1) == memory.total
    assert memory.on_each_of(4) == memory.on_each_of(8) == memory.total - 3e9


def test_smaller_passes_and_four_bits_need_less(profile):
    shape = profile.models.shape
    whole = profile.model_copy(
        update={"train": profile.train.model_copy(update={"micro_batch": None})}
    )
    one = Estimate(profile, shape).training()
    assert Estimate(whole, shape).training().passing == 16 * one.passing
    assert Estimate(profile, shape, "nf4").training().weights < 0.4 * one.weights
    needs = Estimate(profile, shape).needs([LOAD])
    assert needs.keys() == {"training", "generation"}


def test_the_deepest_target_bounds_the_student(profile):
    assert estimate.depth_of(profile, profile.models.shape) == 27
    auto = profile.model_copy(
        update={"probe": profile.probe.model_copy(update={"target_layers": "auto"})}
    )
    assert estimate.depth_of(auto, profile.models.shape) == 28


def test_the_shape_of_a_checkpoint_is_read_from_its_folder(tmp_path):
    from tests.checkpoints import write_checkpoint

    shape = read_shape(write_checkpoint(tmp_path / "pair", architecture="qwen3", hidden=32))
    assert (shape.hidden, shape.layers, shape.head_width) == (32, 3, 8)
    (tmp_path / "pair" / "config.json").write_text('{"hidden_size": 32}')
    assert read_shape(tmp_path / "pair") is None
    assert read_shape(tmp_path / "nothing") is None
    (tmp_path / "cut.gguf").write_bytes(b"GGUF")
    assert read_shape(tmp_path / "cut.gguf") is None


def test_the_cache_grows_with_the_batch_until_the_engine_is_full(profile):
    token = 2 * SMALL.layers * SMALL.kv_heads * SMALL.head_width * 2  # bytes, bf16

    def cached(*loads: Workload, batch: int) -> float:
        evaluate = profile.evaluate.model_copy(update={"batch": batch})
        other = profile.model_copy(update={"evaluate": evaluate})
        return Estimate(other, SMALL).generation(loads).passing / token

    assert cached(LOAD, batch=8) == 8 * 1000
    # No more rows than there are completions, and no more positions than the engine holds.
    assert cached(replace(LOAD, completions=3), batch=8) == 3 * 1000
    assert cached(LOAD, batch=100) == CACHED_TOKENS
    # The longest is not always what fills it most.
    long = replace(LOAD, tokens=7900, completions=1)
    assert cached(LOAD, long, batch=10) == 10 * 1000
    # One row is written whatever it takes.
    assert cached(replace(LOAD, tokens=100_000), batch=8) == 100_100


def test_the_greatest_guard_in_use_needs_its_memory(profile):
    by_guard = replace(LOAD, judge="guard")
    assert Estimate(judged_by(profile, guard=GUARD), SMALL).judging([LOAD]) is None
    found = Estimate(judged_by(profile, guard=GUARD), SMALL).judging([LOAD, by_guard])
    shape = estimate.GUARDS["wildguard"]
    assert found.weights == 2 * estimate.parameters(shape)
    # 400 tokens of its own, a request of 100 and a text of 900, four at once.
    token = 2 * shape.layers * shape.kv_heads * shape.head_width * 2
    assert found.passing == 4 * 1400 * token
    great = GUARD.model_copy(update={"kind": "harmbench"})
    loads = [by_guard, replace(LOAD, judge="great")]
    both = Estimate(judged_by(profile, guard=GUARD, great=great), SMALL).judging(loads)
    assert both.weights == 2 * estimate.parameters(estimate.GUARDS["harmbench"]) > found.weights
    rubric = RubricSettings(model="a-model")
    assert Estimate(judged_by(profile, guard=rubric), SMALL).judging([by_guard]) is None


def test_a_guard_reads_no_more_than_the_profile_lets_it():
    assert estimate.case_tokens(GUARD, replace(LOAD, tokens=100_000)) == 500 + 3000
    assert estimate.case_tokens(GUARD, LOAD, share=0.5) == 500 + 450


@pytest.mark.parametrize(
    ("kind", "billions"), [("llama-guard-3", 8.03), ("harmbench", 13.02), ("wildguard", 7.25)]
)
def test_guards_have_the_published_sizes(kind, billions):
    assert estimate.parameters(estimate.GUARDS[kind]) / 1e9 == pytest.approx(billions, rel=3e-3)
