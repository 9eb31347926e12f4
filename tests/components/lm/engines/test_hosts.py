"""The environment names the engine; adapters are switched on one loaded checkpoint."""

from __future__ import annotations

from functools import partial

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
    monkeypatch.setenv("SAFEREACT_ENGINE", "vllm")
    monkeypatch.setenv("SAFEREACT_PRECISION", "bfloat16")
    assert engine_identity() == "vllm, cpu, bfloat16"


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
