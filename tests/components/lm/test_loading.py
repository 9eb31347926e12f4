"""Checkpoints: described without their weights, refused with one clear message."""

from __future__ import annotations

import json
import shutil

import pytest

from components.errors import ModelError
from components.lm.loading import (
    attach_adapter,
    default_device,
    describe_checkpoint,
    load_model,
    load_tokenizer,
)
from tests.checkpoints import WORDS, write_checkpoint


@pytest.fixture
def checkpoint(random_models, tmp_path):
    return shutil.copytree(random_models.folder / "base", tmp_path / "checkpoint")


def describe(folder):
    return describe_checkpoint(folder, location="mine", where="local")


def test_description(checkpoint):
    ref = describe(checkpoint)
    model = load_model(checkpoint)
    assert ref.parameters == sum(p.numel() for p in model.parameters())
    assert (ref.architecture, ref.layers, ref.hidden) == ("LlamaForCausalLM", 3, 32)
    assert ref.vocabulary == model.config.vocab_size
    assert describe(checkpoint).digest == ref.digest


def test_the_digest_sees_the_weights_and_not_other_files(checkpoint):
    before = describe(checkpoint).digest
    (checkpoint / "notes.md").write_text("x")
    assert describe(checkpoint).digest == before
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.5}))
    assert describe(checkpoint).digest != before


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "mistral", "gemma"])
def test_the_tokenizer_is_the_one_that_was_saved(tmp_path, architecture):
    tokenizer = load_tokenizer(write_checkpoint(tmp_path, architecture=architecture))
    assert tokenizer.tokenize("make a jar") == ["make", "a", "jar"]
    assert all(tokenizer.tokenize(word) == [word] for word in set(WORDS))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: (f / "config.json").unlink(), r"config\.json is missing"),
        (lambda f: (f / "model.safetensors").unlink(), r"no \.safetensors weights; pickled"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\x00" * 20), "cannot be read"),
        (lambda f: (f / "config.json").write_text("{"), "cannot be read"),
        (lambda f: (f / "tokenizer.json").unlink(), "tokenizer"),
        (lambda f: (f / "chat_template.jinja").unlink(), "no chat template"),
    ],
)
def test_a_damaged_checkpoint_is_refused(checkpoint, damage, told):
    damage(checkpoint)
    with pytest.raises(ModelError, match=told):
        describe(checkpoint)


def test_truncated_weights_are_refused(checkpoint):
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cannot be"):
        load_model(checkpoint)


def test_a_folder_without_an_adapter_is_refused(checkpoint, tmp_path):
    with pytest.raises(ModelError, match=r"adapter_model\.safetensors is missing"):
        attach_adapter(load_model(checkpoint), tmp_path)


def test_an_adapter_of_another_model_is_refused(checkpoint, tmp_path):
    from peft import LoraConfig, get_peft_model

    wider = load_model(write_checkpoint(tmp_path / "wider", hidden=64))
    config = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(wider, config).save_pretrained(tmp_path / "adapter")
    with pytest.raises(ModelError, match="does not fit this model"):
        attach_adapter(load_model(checkpoint), tmp_path / "adapter")


def test_the_environment_names_the_device(monkeypatch):
    monkeypatch.setenv("SAFEREACT_DEVICE", "meta")
    assert default_device().type == "meta"
