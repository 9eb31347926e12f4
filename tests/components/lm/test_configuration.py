"""Whatever a checkpoint's folder holds: one `ModelError`, and nothing in it runs."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from components.core.errors import ModelError
from components.lm.architecture import outline
from components.lm.loading import describe_checkpoint, load_model
from components.models.checkpoints import check_complete
from flows.doctor.checkpoints import complaint, read_shape
from tests.components.models.test_gguf import llama, write_gguf
from tests.root import ROOT


@pytest.fixture
def checkpoint(random_models, tmp_path):
    return shutil.copytree(random_models.folder / "base", tmp_path / "checkpoint")


def written(name, content):
    """What puts `content` in place of the file `name`."""

    def spoil(folder):
        path = folder / name
        path.unlink(missing_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())

    return spoil


def changed(name="config.json", **keys):
    """What sets `keys` in a JSON file, or takes those away that are None."""

    def spoil(folder):
        path = folder / name
        document = (json.loads(path.read_text()) if path.exists() else {}) | keys
        path.write_text(json.dumps({k: v for k, v in document.items() if v is not None}))

    return spoil


def folder_instead(name):
    def spoil(folder):
        (folder / name).unlink()
        (folder / name).mkdir()

    return spoil


def dangling(name):
    def spoil(folder):
        (folder / name).unlink()
        (folder / name).symlink_to(folder / "elsewhere")

    return spoil


def weights(change):
    """What lets `change` alter the stored weights in place."""

    def spoil(folder):
        path = folder / "model.safetensors"
        stored = load_file(path)
        change(stored)
        save_file(stored, path, {"format": "pt"})

    return spoil


def header(change):
    """What lets `change` alter the header of the weights, and nothing else."""

    def spoil(folder):
        path = folder / "model.safetensors"
        content = path.read_bytes()
        size = int.from_bytes(content[:8], "little")
        document = json.loads(content[8 : 8 + size])
        change(document)
        head = json.dumps(document).encode()
        path.write_bytes(len(head).to_bytes(8, "little") + head + content[8 + size :])

    return spoil


def indexed(places, whole="model-1.safetensors"):
    """What makes one shard of the weights and an index that names `places` beside its own."""

    def spoil(folder):
        (folder / "model.safetensors").rename(folder / whole)
        own = dict.fromkeys(load_file(folder / whole), whole)
        places_of = {k: v for k, v in (own | places).items() if v is not None}
        index = {"metadata": {}, "weight_map": places_of}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    return spoil


DOWN = "model.layers.1.mlp.down_proj.weight"
BROKEN = {
    "no config": (lambda f: (f / "config.json").unlink(), r"config\.json is missing"),
    "list": (written("config.json", []), "a JSON list, not an object"),
    "empty": (written("config.json", b""), "cannot be read as JSON"),
    "latin-1": (written("config.json", b'{"a": "\xe9"}'), "in UTF-8"),
    "deep": (written("config.json", b'{"a":' + b"[" * 100_000), "cannot be read as JSON"),
    "long number": (written("config.json", b'{"a":' + b"9" * 6_000 + b"}"), "cannot be read as"),
    "config is a folder": (folder_instead("config.json"), r"config\.json is a folder, not a file"),
    "config hangs": (dangling("config.json"), "a link to .*elsewhere, which is missing"),
    "weights are a folder": (folder_instead("model.safetensors"), "is a folder, not a file"),
    "weights hang": (dangling("model.safetensors"), "a link to .*elsewhere, which is missing"),
    "no model_type": (changed(model_type=None), "transformers has no model_type 'None'"),
    "odd model_type": (changed(model_type=["llama"]), "transformers has no model_type"),
    "unknown model_type": (changed(model_type="unheard-of"), "has no model_type 'unheard-of'"),
    "no causal model": (changed(model_type="t5", num_layers=2), "'t5' is no causal language model"),
    "code": (changed(model_type="mine", auto_map={"AutoConfig": "c.C"}), "code that comes with"),
    "negative": (changed(hidden_size=-32), "describes no model that can be built"),
    "no heads": (changed(num_attention_heads=0), "describes no model that can be built"),
    "words for numbers": (changed(hidden_size="wide"), "describes no model that can be built"),
    "endless layers": (changed(num_hidden_layers=10**9), "num_hidden_layers is 1000000000"),
    "endless labels": (changed(num_labels=10**10), "num_labels is 10000000000"),
    "endless words": (changed(vocab_size=10**13), "of another shape: lm_head.weight"),
    "wider": (changed(intermediate_size=128), "9 of another shape: model.layers.0.mlp.down_proj"),
    "one layer more": (changed(num_hidden_layers=4), "9 missing.*model.layers.3.input_layernorm"),
    "one layer fewer": (changed(num_hidden_layers=2), "9 not the model's: model.layers.2.input"),
    "of two models": (
        changed(model_type="mistral", architectures=["LlamaForCausalLM"]),
        "architectures is .*LlamaForCausalLM.* and model_type 'mistral'",
    ),
    "no list of classes": (changed(architectures=True), "describes no model that can be built"),
    "no number": (changed(rms_norm_eps=float("nan")), "rms_norm_eps is NaN"),
    "odd dtype": (changed(dtype="float3"), "describes no model that can be built"),
    "gptq": (changed(quantization_config={"quant_method": "gptq", "bits": 4}), "quantised.*gptq"),
    "bnb": (changed(quantization_config={"quant_method": "bitsandbytes"}), "quantised"),
    "nested": (changed(text={"quantization_config": {"quant_method": "fp8"}}), "text.quantization"),
    "other weights": (changed(transformers_weights="x.safetensors"), "transformers_weights is"),
    "other config": (changed(configuration_files=["config.4.0.0.json"]), "configuration_files is"),
    "kernel": (changed(_attn_implementation="o/kernel"), "_attn_implementation is 'o/kernel'"),
    "kernel 2": (changed(attn_implementation="o/k@v1:f"), "attn_implementation is 'o/k@v1:f'"),
    "kernel 3": (changed(_attn_implementation_internal="o/k"), "_internal is 'o/k'"),
    "kernel 4": (changed(attn_implementation={"": "sdpa", "text": "o/k"}), "a kernel to be"),
    "kernel 5": (changed(text_config={"attn_implementation": "o/k"}), "text_config.attn"),
    "experts": (changed(experts_implementation="o/k"), "experts_implementation is 'o/k'"),
    "kernels": (changed(use_kernels=True), "use_kernels is True"),
    "generation list": (written("generation_config.json", []), "a JSON list, not an object"),
    "generation": (written("generation_config.json", b"{"), "generation_config.json cannot be"),
    "odd end": (changed("generation_config.json", eos_token_id="2"), "eos_token_id is '2'"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), r"no \.safetensors weights"),
    "empty weights": (written("model.safetensors", b""), "cannot be read as safetensors"),
    "zeros": (written("model.safetensors", b"\0" * 20), "cannot be read as safetensors"),
    "long header": (written("model.safetensors", b"\xff" * 7 + b"\0" + b"{"), "cannot be read as"),
    "offsets": (
        header(lambda h: h[DOWN].update(data_offsets=[0, 10**15])),
        "cannot be read as safetensors",
    ),
    "overlap": (
        header(lambda h: h[DOWN].update(data_offsets=h["model.norm.weight"]["data_offsets"])),
        "cannot be read as safetensors",
    ),
    "one missing": (weights(lambda w: w.pop(DOWN)), f"1 missing from the files: {DOWN}"),
    "no head": (weights(lambda w: w.pop("lm_head.weight")), "1 missing from the files: lm_head"),
    "one more": (weights(lambda w: w.update({"odd.weight": w[DOWN] * 1})), "not the model's: odd"),
    "prefixed": (
        weights(lambda w: [w.update({f"module.{k}": w.pop(k)}) for k in [*w]]),
        "30 missing from the files: lm_head.weight.* 30 not the model's: module.lm_head.weight",
    ),
    "transposed": (
        weights(lambda w: w.update({DOWN: w[DOWN].T.contiguous()})),
        r"1 of another shape: .*down_proj.weight \(\(64, 32\) in the files, \(32, 64\)",
    ),
    "int8": (
        weights(lambda w: w.update({DOWN: w[DOWN].char()})),
        f"{DOWN} is stored as I8, so the weights are quantised",
    ),
    "whole numbers": (
        weights(lambda w: w.update({DOWN: w[DOWN].long()})),
        f"{DOWN} is stored as I64",
    ),
    "never written": (weights(lambda w: w[DOWN].zero_()), f"nothing but zeros.*{DOWN}"),
    "nan": (weights(lambda w: w[DOWN].view(-1)[7].fill_(float("nan"))), f"not finite.*{DOWN}"),
    "inf": (weights(lambda w: w[DOWN].view(-1)[0].fill_(float("-inf"))), f"not finite.*{DOWN}"),
    "shard outside": (indexed({DOWN: "../x.safetensors"}), r"the shard '\.\./x.safetensors'"),
    "shard absolute": (indexed({DOWN: "/x.safetensors"}), "the shard '/x.safetensors'"),
    "pickled shard": (indexed({DOWN: "x.bin"}), r"the shard 'x\.bin'"),
    "no such shard": (indexed({DOWN: "model-2.safetensors"}), "lacks shards .*model-2"),
    "shard lacks it": (
        indexed({"odd": "model-1.safetensors"}),
        "such as odd in model-1.*not there",
    ),
    "index lacks it": (indexed({DOWN: None}), "down_proj.weight in model-1.*not in the index"),
    "index list": (written("model.safetensors.index.json", []), "a JSON list"),
    "index of nothing": (written("model.safetensors.index.json", {}), "names no weights"),
    "two sets": (
        lambda f: (
            shutil.copy(f / "model.safetensors", f / "kept"),
            indexed({})(f),
            (f / "kept").rename(f / "model.safetensors"),
        ),
        "two sets of weights",
    ),
    "stray adapter": (written("adapter_config.json", {}), "adapter_config.json.*beside the model"),
    "stray weights": (written("adapter_model.safetensors", b""), "adapter_model.safetensors.*besi"),
    "tokenizer list": (written("tokenizer.json", []), "a JSON list"),
    "tokenizer": (written("tokenizer.json", b"{"), "tokenizer.json cannot be read as JSON"),
    "tokenizer empty": (written("tokenizer.json", {}), "has no tokenizer that can be read"),
    "more tokens": (
        written("added_tokens.json", {"<|later|>": 75}),
        "token 75 has no embedding",
    ),
    "no tokenizer": (
        lambda f: [path.unlink() for path in f.glob("tokenizer*")],
        "has no tokenizer that can be read",
    ),
    "tokenizer hangs": (dangling("tokenizer.json"), "a link to .*elsewhere"),
}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_broken_checkpoint_is_one_message_wherever_it_is_met(checkpoint, damage):
    spoil, told = BROKEN[damage]
    spoil(checkpoint)
    with pytest.raises(ModelError, match=told) as error:
        check_complete(checkpoint)
        describe_checkpoint(checkpoint, location="mine", where="local")
    assert "\n" not in str(error.value) and len(str(error.value)) < 1500
    if damage not in ("nan", "inf", "never written"):  # not in the headers
        assert complaint(checkpoint) == str(error.value)
    if damage not in ("more tokens", "never written") and "tokenizer" not in damage:
        with pytest.raises(ModelError):
            load_model(checkpoint)
    assert read_shape(checkpoint) is None or read_shape(checkpoint).layers


def in_the_hub_cache(folder):
    blobs = folder.parent / "blobs"
    blobs.mkdir()
    for number, path in enumerate([*folder.iterdir()]):
        path.rename(blobs / str(number))
        path.symlink_to(f"../blobs/{number}")


SENSIBLE = {
    "hub cache": in_the_hub_cache,
    "one class of several": changed(architectures=["OwnModel", "LlamaForCausalLM"]),
    "a class of nobody": changed(architectures=["LLaMAForCausalLM"]),
    "sampling": changed("generation_config.json", temperature=0.9, top_p=0.6),
    "a folder of the maker's": lambda f: (
        (f / "original").mkdir()
        or shutil.copy(f / "model.safetensors", f / "original" / "consolidated.00.safetensors")
    ),
    "flash": changed(_attn_implementation="flash_attention_2"),
    "eager": changed(attn_implementation="eager"),
    "generated": changed("generation_config.json", eos_token_id=[2, 3]),
    "sharded": indexed({}),
    "own code beside a known model": changed(auto_map={"AutoConfig": "code.Config"}),
    "other formats beside it": lambda f: shutil.copy(
        f / "model.safetensors", f / "consolidated.safetensors"
    ),
}


@pytest.mark.parametrize("change", SENSIBLE)
def test_what_is_not_broken_is_loaded_and_counted_once(checkpoint, change):
    before = describe_checkpoint(checkpoint, location="mine", where="local")
    SENSIBLE[change](checkpoint)
    check_complete(checkpoint)
    after = describe_checkpoint(checkpoint, location="mine", where="local")
    model = load_model(checkpoint)
    assert before.parameters == after.parameters == sum(p.numel() for p in model.parameters())
    assert model.config._attn_implementation == ("eager" if change == "eager" else "sdpa")
    same = ("other formats beside it", "hub cache", "a folder of the maker's")
    assert (before.digest == after.digest) == (change in same)


SCALARS = st.none() | st.booleans() | st.integers(-(10**13), 10**13) | st.floats() | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_settings_are_a_model_or_one_error(checkpoint, data):
    path = checkpoint / "config.json"
    kept = path.read_text()
    document = json.loads(kept)
    keys = st.sampled_from([*document, "quantization_config", "rope_scaling", "auto_map"])
    path.write_text(json.dumps(document | data.draw(st.dictionaries(keys, VALUES, max_size=3))))
    try:
        outline(checkpoint)
    except ModelError as error:
        assert str(checkpoint) in str(error)
    finally:
        path.write_text(kept)
    read_shape(checkpoint)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 3000), content=st.binary(min_size=1, max_size=9))
def test_any_bytes_of_a_header_are_a_model_or_one_error(checkpoint, place, content):
    path = checkpoint / "model.safetensors"
    kept = path.read_bytes()
    path.write_bytes(kept[:place] + content + kept[place + len(content) :])
    try:
        outline(checkpoint)
    except ModelError as error:
        assert str(checkpoint) in str(error)
    finally:
        path.write_bytes(kept)


CODE = "from pathlib import Path\nPath({trace!r}).write_text('it ran')\nclass {name}: pass\n"
ENTRIES = """
import sys
from pathlib import Path
from components.core.errors import SafeReActError
from components.judges.formats import FORMATS
from components.judges.guards import Guard
from components.judges.settings import GuardSettings
from components.models.checkpoints import check_complete
from components.models.checkpoints import read_gguf
from components.lm.generation import checkpoint_end_tokens
from components.lm.loading import *
from flows.doctor.checkpoints import complaint, read_shape

for folder in map(Path, sys.argv[1:]):
    settings = GuardSettings(kind="harmbench", model=str(folder))
    guard = Guard(FORMATS["harmbench"], settings, "mine", folder, None)
    for number, enter in enumerate([
        lambda: complaint(folder),
        lambda: read_shape(folder),
        lambda: check_complete(folder),
        lambda: describe_checkpoint(folder, location="mine", where="local"),
        lambda: load_tokenizer(folder),
        lambda: load_model(folder),
        lambda: context_length(folder),
        lambda: checkpoint_end_tokens(folder, load_tokenizer(folder)),
        lambda: guard.check(),
        lambda: guard.tokenizer,
        lambda: read_gguf(folder / "model.gguf"),
    ]):
        try:
            enter()
        except SafeReActError:
            pass
        print(number)
"""
UNGUARDED = """
import sys
from transformers import AutoConfig, AutoTokenizer
AutoConfig.from_pretrained(sys.argv[1])
AutoTokenizer.from_pretrained(sys.argv[1])
"""
MAPS = {"AutoConfig": "code.Mine", "AutoModelForCausalLM": "code.Mine"}
WITH_CODE = {
    "unknown model": changed(model_type="mine", auto_map=MAPS),
    "known model": changed(auto_map=MAPS),
    "tokenizer": changed(
        "tokenizer_config.json",
        auto_map={"AutoTokenizer": ["code.Mine", "code.Mine"]},
        tokenizer_class="Mine",
    ),
}


def run_with_yes(program, folders, tmp_path):
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, folders)],
        input="y\n" * 1000,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules")},
        timeout=300,
    )


@pytest.fixture
def with_code(checkpoint, tmp_path):
    """Checkpoints whose code would write the file that comes back with them."""
    trace = tmp_path / "trace"
    folders = [shutil.copytree(checkpoint, tmp_path / name) for name in WITH_CODE]
    for folder, spoil in zip(folders, WITH_CODE.values(), strict=True):
        for name in ("code.py", "custom_generate/generate.py"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(CODE.format(trace=str(trace), name="Mine"))
        write_gguf(folder / "model.gguf", llama())
        spoil(folder)
    return folders, trace


def test_no_code_of_a_checkpoint_runs_whatever_stdin_says(with_code, tmp_path):
    folders, trace = with_code
    done = run_with_yes(ENTRIES, folders, tmp_path)
    assert done.stdout.split() == 3 * [str(n) for n in range(11)], done.stderr[-2000:]
    assert "y/N" not in done.stdout + done.stderr
    assert not trace.exists() and not (tmp_path / "modules").exists()


@pytest.mark.slow
def test_the_code_would_run_if_transformers_were_asked_without_guard(with_code, tmp_path):
    folders, trace = with_code
    run_with_yes(UNGUARDED, folders[:1], tmp_path)
    assert trace.exists()


def test_every_call_that_could_run_code_forbids_it():
    calls = [
        (path.name, node)
        for room in ("components", "flows", "benchmarks")
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("from_pretrained", "from_config")
        and ast.unparse(node.func.value).startswith(("Auto", "_tokenizer_class"))
    ]
    assert len(calls) >= 5
    for name, call in calls:
        named = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert named.get("trust_remote_code") == "False", f"{name}: {ast.unparse(call)}"
