"""Checkpoints: described without their weights, refused with one clear message."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import load_file, save_file

from components.core.errors import ModelError
from components.lm.adapters import PLAIN, attach_adapter, check_adapter, merge_adapter
from components.lm.architecture import outline
from components.lm.loading import (
    default_device,
    describe_checkpoint,
    load_model,
    load_tokenizer,
    precision_word,
)
from tests.checkpoints import WORDS, write_checkpoint
from tests.root import ROOT


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
        (lambda f: (f / "model.safetensors").unlink(), r"no \.safetensors weights; save"),
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


@pytest.fixture
def adapter(checkpoint, tmp_path):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM")
    folder = tmp_path / "adapter"
    get_peft_model(load_model(checkpoint), config).save_pretrained(folder)
    return folder


NAME = "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda w: w.pop(NAME), f"1 missing from the files: {NAME}"),
        (lambda w: w.update({NAME.replace("1", "7"): w[NAME] * 1}), "1 not the model's: .*s.7.mlp"),
        (lambda w: w.update({NAME: w[NAME].fill_(float("nan"))}), f"not finite, such as {NAME}"),
        (lambda w: w.update({NAME: w[NAME][:-1].contiguous()}), "does not fit this model"),
        (lambda w: [w.update({"x." + k: w.pop(k)}) for k in [*w]], "12 missing.*12 not the model"),
    ],
)
def test_an_adapter_is_taken_whole_or_not_at_all(checkpoint, adapter, spoil, told):
    path = adapter / "adapter_model.safetensors"
    weights = load_file(path)
    spoil(weights)
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(ModelError, match=told):
        attach_adapter(load_model(checkpoint), adapter)
    with pytest.raises(ModelError, match=told):
        check_adapter(outline(checkpoint), adapter)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3'"),
        ({"megatron_config": {"a": 1}, "megatron_core": "code"}, "sets megatron_config"),
        ({"target_modules": ["q_proj"]}, "6 not the model's"),
        ({"layers_to_transform": [0], "layers_pattern": "layers"}, "8 not the model's"),
        ({"r": 4}, "does not fit this model"),
        ({"r": "many"}, "does not fit this model"),
    ],
)
def test_settings_of_an_adapter_are_its_own(checkpoint, adapter, settings, told):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    with pytest.raises(ModelError, match=told):
        attach_adapter(load_model(checkpoint), adapter)
    with pytest.raises(ModelError, match=told):
        check_adapter(outline(checkpoint), adapter)


def test_no_setting_that_computes_something_else_is_passed_over(checkpoint, adapter):
    """Every setting of PEFT's that is not named as one of a plain LoRA, and those of later ones."""
    model, path = load_model(checkpoint), adapter / "adapter_config.json"
    stored = json.loads(path.read_text())
    later = {key: value for key, value in stored.items() if key not in PLAIN}
    assert {"alora_invocation_tokens", "use_qalora", "arrow_config"} <= later.keys()
    for key in [*later, "of_a_later_release"]:
        path.write_text(json.dumps(stored | {key: [5]}))
        with pytest.raises(ModelError, match=f"sets {key}, which is not followed"):
            attach_adapter(model, adapter)
    path.write_text(json.dumps(stored | {"of_a_later_release": None}))
    attach_adapter(model, adapter)


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])  # without biases, and with
@pytest.mark.parametrize(
    "settings",
    [
        *({"init_lora_weights": one} for one in (True, False, "gaussian", "orthogonal")),
        *({"init_lora_weights": one} for one in ("pissa", "pissa_niter_4", "olora", "loftq")),
        *({"bias": one} for one in ("none", "all", "lora_only")),
        *({"use_rslora": True}, {"alpha_pattern": {"q_proj": 64}}, {"fan_in_fan_out": True}),
    ],
    ids=str,
)
def test_an_adapter_that_was_taken_off_leaves_the_model_as_it_was(tmp_path, architecture, settings):
    """The arm that comes behind it in memory is the checkpoint, or the adapter is refused."""
    from peft import LoraConfig, get_peft_model

    folder = write_checkpoint(tmp_path / "model", architecture=architecture)
    plain = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(load_model(folder), plain).save_pretrained(tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    model = load_model(folder)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    refused = None
    try:
        model = attach_adapter(model, tmp_path / "adapter").unload()
    except ModelError as error:
        refused = str(error)
    after = model.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    changes = settings.get("init_lora_weights") in ("pissa", "pissa_niter_4", "olora", "loftq")
    assert bool(refused) is (changes or settings.get("bias", "none") != "none"), refused


def test_a_whole_adapter_is_put_on(checkpoint, adapter):
    ids = torch.tensor([[5, 6, 7]])
    plain, adapted = load_model(checkpoint), attach_adapter(load_model(checkpoint), adapter)
    torch.testing.assert_close(adapted(ids).logits, plain(ids).logits)
    check_adapter(outline(checkpoint), adapter)


def test_an_adapter_takes_the_precision_of_its_model(checkpoint, adapter, monkeypatch):
    monkeypatch.setenv("SAFEREACT_PRECISION", "bfloat16")
    adapted = attach_adapter(load_model(checkpoint), adapter)
    assert {weight.dtype for weight in adapted.parameters()} == {torch.bfloat16}


def test_a_merged_adapter_is_rounded_once(checkpoint, adapter, monkeypatch):
    monkeypatch.setenv("SAFEREACT_PRECISION", "bfloat16")
    path = adapter / "adapter_model.safetensors"
    generator = torch.Generator().manual_seed(0)
    stored = {k: torch.randn(v.shape, generator=generator) for k, v in load_file(path).items()}
    save_file(stored, path, {"format": "pt"})
    scale = json.loads((adapter / "adapter_config.json").read_text())["lora_alpha"] / 2
    plain = load_model(checkpoint).state_dict()
    merged = merge_adapter(load_model(checkpoint), adapter).state_dict()
    for name in ("model.layers.0.self_attn.q_proj", "model.layers.2.mlp.up_proj"):
        a, b = (stored[f"base_model.model.{name}.lora_{side}.weight"] for side in "AB")
        expected = plain[f"{name}.weight"].float() + scale * (b @ a)
        torch.testing.assert_close(merged[f"{name}.weight"], expected.to(torch.bfloat16))


def test_two_embeddings_where_the_settings_know_one_are_refused(checkpoint):
    path = checkpoint / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tie_word_embeddings": True}))
    for use in (load_model, describe):
        with pytest.raises(ModelError, match="ties input and output embeddings"):
            use(checkpoint)


def test_the_environment_names_the_device(monkeypatch):
    monkeypatch.setenv("SAFEREACT_DEVICE", "meta")
    assert default_device().type == "meta"


@pytest.mark.parametrize(
    ("named", "loaded"),
    [("", torch.float32), ("auto", torch.bfloat16), ("bfloat16", torch.bfloat16)],
)
def test_the_environment_names_the_precision(checkpoint, tmp_path, monkeypatch, named, loaded):
    load_model(checkpoint).to(torch.bfloat16).save_pretrained(tmp_path)
    monkeypatch.setenv("SAFEREACT_PRECISION", named)
    assert load_model(tmp_path, device=torch.device("cpu")).dtype is loaded
    assert f"torch.{precision_word(tmp_path, torch.device('cpu'))}" == str(loaded)


def test_an_unknown_precision_is_refused(checkpoint, monkeypatch):
    monkeypatch.setenv("SAFEREACT_PRECISION", "int3")
    with pytest.raises(ModelError, match=r"'int3'.*auto, float32, bfloat16"):
        load_model(checkpoint)


def test_four_bits_on_a_cpu_name_the_remedy(checkpoint):
    with pytest.raises(ModelError, match=r"needs an accelerator.*train\.load_in_4bit: false"):
        load_model(checkpoint, device=torch.device("cpu"), load_in_4bit=True)


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_four_bits_without_bitsandbytes_name_the_remedy(checkpoint):
    with pytest.raises(ModelError, match=r"safereact-ops\[4bit\].*load_in_4bit: false"):
        load_model(checkpoint, device=torch.device("cuda"), load_in_4bit=True)
    # To ask it is enough to install it, on a CPU, too; no setting of a training has to do with it.
    with pytest.raises(ModelError, match=r"safereact-ops\[4bit\]'$"):
        load_model(checkpoint, device=torch.device("cpu"), load_in_4bit=True, trained=False)


def test_code_from_the_hub_is_not_run_though_the_package_that_fetches_it_is_there(tmp_path):
    """bitsandbytes and transformers look for it, and ask it for compiled code of the hub."""
    (tmp_path / "kernels.py").write_text("raise SystemExit('kernels was imported')")
    code = (
        "import components.lm.loading; from importlib.util import find_spec;"
        "from transformers.utils.import_utils import is_kernels_available;"
        "assert find_spec('kernels') is None and not is_kernels_available()\n"
        "try:\n    import kernels\nexcept ImportError:\n    print('no code')"
    )
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "no code\n"), done.stderr


def assert_trainable(model):
    """An adapter on `model` gets a gradient in all seven projections of its three layers."""
    from components.train.adapters import BaseName, add_lora
    from components.train.settings import Lora

    lora = Lora(r=2, alpha=2, dropout=0)
    adapted = add_lora(model, lora, layers=(1, 2, 3), base=BaseName("x"), seed=0)
    ids = torch.tensor([[5, 6, 7, 8]], device=default_device())
    adapted(ids).logits.sum().backward()
    gradients = [w.grad for n, w in adapted.named_parameters() if "lora_B" in n]
    assert len(gradients) == 21 and all(g.abs().sum() > 0 for g in gradients)


def test_an_adapter_on_whole_weights_can_be_trained(tmp_path):
    assert_trainable(load_model(write_checkpoint(tmp_path, hidden=128)))


@pytest.mark.gpu
def test_four_bits_are_close_and_can_be_trained(tmp_path):
    checkpoint = write_checkpoint(tmp_path, hidden=128)
    whole, quantised = load_model(checkpoint), load_model(checkpoint, load_in_4bit=True)
    ids = torch.tensor([[5, 6, 7, 8]], device=default_device())
    name = "model.layers.0.mlp.up_proj.weight"
    assert whole.get_parameter(name).nbytes > 6 * quantised.get_parameter(name).nbytes
    logits, expected = quantised(ids).logits, whole(ids).logits
    assert 0 < (logits - expected).norm() < 0.2 * expected.norm()
    assert_trainable(quantised)
