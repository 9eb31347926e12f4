"""The environment names the engine; adapters are switched on one loaded checkpoint."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from components.core.errors import ConfigError
from components.lm.adapters import attach_adapter
from components.lm.engines.hosts import (
    InMemory,
    engine_identity,
    engine_name,
    load_in_worker,
    open_host,
)
from components.lm.engines.protocol import Request, collect
from components.lm.engines.vllm_gpu import VllmHost
from components.lm.generation import checkpoint_end_tokens, end_tokens, engine_of
from components.lm.loading import checkpoint_folder, load_model, load_tokenizer

ASKED = [Request((1, 20 + i, 30 + i), 6) for i in range(5)]


@pytest.fixture(scope="module")
def folder(random_models):
    return checkpoint_folder(random_models, random_models.post_trained)


@pytest.fixture(scope="module")
def adapters(folder, tmp_path_factory):
    """Two adapters that change what the model writes."""
    from peft import LoraConfig, get_peft_model

    folders = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        settings = LoraConfig(r=4, target_modules=["down_proj"], init_lora_weights=False)
        adapted = get_peft_model(load_model(folder), settings)
        folders.append(tmp_path_factory.mktemp("adapter"))
        adapted.save_pretrained(folders[-1])
    return folders


def written(model, folder):
    return collect(engine_of(model, load_tokenizer(folder), batch=2), ASKED, label="alone")


def test_the_engine_is_transformers_unless_another_is_named(monkeypatch):
    monkeypatch.delenv("SAFEREACT_ENGINE", raising=False)
    assert engine_name() == "transformers"
    monkeypatch.setenv("SAFEREACT_ENGINE", "llama")
    with pytest.raises(ConfigError, match="one of transformers, vllm, openai, not 'llama'"):
        engine_name()
    monkeypatch.setenv("SAFEREACT_ENGINE", "openai")
    monkeypatch.setenv("SAFEREACT_RAY_ADDRESS", "local")
    with pytest.raises(ConfigError, match="SAFEREACT_RAY_ADDRESS spreads"):
        engine_name()


def test_what_a_server_writes_is_not_bound_to_weights(monkeypatch):
    monkeypatch.setenv("SAFEREACT_ENGINE", "openai")
    assert engine_identity() == "openai, unbound"
    monkeypatch.setenv("SAFEREACT_ENGINE", "transformers")
    monkeypatch.setenv("SAFEREACT_DEVICE", "cpu")
    monkeypatch.delenv("SAFEREACT_PRECISION", raising=False)
    assert engine_identity() == "transformers, cpu, float32"


def test_a_worker_takes_over_the_environment_and_computes_as_was_told(folder, monkeypatch):
    monkeypatch.setenv("SAFEREACT_DEVICE", "cpu")
    monkeypatch.setenv("SAFEREACT_PRECISION", "float32")
    monkeypatch.setattr(torch, "set_num_threads", lambda number: threads.append(number))
    threads: list[int] = []
    load = partial(InMemory, folder, batch=2)
    named = {"SAFEREACT_PRECISION": "bfloat16"}
    host = load_in_worker(
        load, threads=3, environment=named, expected="transformers, cpu, bfloat16"
    )
    assert next(host._model.parameters()).dtype is torch.bfloat16 and threads == [3]
    host.close()
    with pytest.raises(
        ConfigError, match=r"with transformers, cpu, bfloat16.*cuda, auto; set SAFE"
    ):
        load_in_worker(load, threads=3, environment={}, expected="transformers, cuda, auto")


def test_adapters_are_switched_on_one_checkpoint(folder, adapters):
    plain = written(load_model(folder), folder)
    expected = [written(attach_adapter(load_model(folder), path), folder) for path in adapters]
    assert plain != expected[0] != expected[1]
    with open_host(folder, batch=3) as host:
        for adapter, rows in (
            (None, plain), (adapters[0], expected[0]), (adapters[0], expected[0]),
            (adapters[1], expected[1]), (None, plain),
        ):  # fmt: skip
            engine = host.engine("any", adapter)
            assert engine.name == "transformers"
            assert collect(engine, ASKED, label="switched") == rows


def test_the_end_tokens_are_known_without_the_model(folder, tmp_path):
    tokenizer = load_tokenizer(folder)
    assert checkpoint_end_tokens(folder, tokenizer) == end_tokens(load_model(folder), tokenizer)
    for file in folder.iterdir():
        if file.name != "generation_config.json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    assert checkpoint_end_tokens(tmp_path, tokenizer) == end_tokens(load_model(tmp_path), tokenizer)


def test_vllm_is_refused_where_it_cannot_run(folder, monkeypatch):
    monkeypatch.setenv("SAFEREACT_ENGINE", "vllm")
    monkeypatch.setitem(sys.modules, "vllm", None)
    with (
        pytest.raises(ConfigError, match=r"not installed: pip install 'safereact-ops\[vllm\]'"),
        open_host(folder, batch=3),
    ):
        pass
    monkeypatch.setitem(sys.modules, "vllm", ModuleType("vllm"))
    monkeypatch.setitem(sys.modules, "vllm.lora", ModuleType("vllm.lora"))
    monkeypatch.setitem(sys.modules, "vllm.lora.request", ModuleType("vllm.lora.request"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no GPU here"), open_host(folder, batch=3):
        pass


def test_what_vllm_is_told(folder, adapters, monkeypatch):
    """A stand-in with vLLM's names, since vLLM needs a GPU: it writes with the engine here."""

    class LLM:
        def __init__(self, model, **settings):
            assert settings["enable_lora"] and settings["generation_config"] == "vllm"
            self.model = model

        def generate(self, prompts, settings, *, lora_request, use_tqdm):
            model = load_model(folder)
            if lora_request:
                model = attach_adapter(model, Path(lora_request.lora_path))
            asked = [
                Request(tuple(p["prompt_token_ids"]), s.max_tokens)
                for p, s in zip(prompts, settings, strict=True)
            ]
            engine = engine_of(model, load_tokenizer(folder), batch=8)
            assert all(set(s.stop_token_ids) == engine.ends for s in settings)
            rows = collect(engine, asked, label="stand-in")
            return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=list(r[0]))]) for r in rows]

    library, lora, request = (ModuleType(n) for n in ("vllm", "vllm.lora", "vllm.lora.request"))
    library.LLM, library.SamplingParams, library.lora = LLM, SimpleNamespace, lora
    lora.request = request
    request.LoRARequest = lambda name, number, path: SimpleNamespace(lora_path=path)
    for name, module in (("vllm", library), ("vllm.lora", lora), ("vllm.lora.request", request)):
        monkeypatch.setitem(sys.modules, name, module)
    tokenizer = load_tokenizer(folder)
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        host = VllmHost(folder, checkpoint_end_tokens(folder, tokenizer))
    plain = written(load_model(folder), folder)
    restored = written(attach_adapter(load_model(folder), adapters[0]), folder)
    assert collect(host.engine("base", None), ASKED, label="vllm") == plain
    assert collect(host.engine("restored", adapters[0]), ASKED, label="vllm") == restored
    assert host.engine("base", None).name == "vllm"
    sampled = [Request(r.prompt, 4, samples=3, temperature=1.0) for r in ASKED]
    assert [len(s) for s in collect(host.engine("base", None), sampled, label="vllm")] == [3] * 5
    host.close()


def test_an_adapter_that_vllm_has_no_room_for_is_refused(tmp_path):
    host = VllmHost.__new__(VllmHost)
    (tmp_path / "adapter_config.json").write_text('{"r": 128}')
    with pytest.raises(ConfigError, match="rank 128, and vLLM is given room for 64"):
        host.engine("restored", tmp_path)
