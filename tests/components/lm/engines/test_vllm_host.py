"""The engine vLLM: against a stand-in that behaves as vLLM 0.32 did, and against vLLM itself."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from components.core.errors import ConfigError, ModelError
from components.lm.adapters import attach_adapter
from components.lm.engines.hosts import open_host
from components.lm.engines.protocol import CACHED_TOKENS, Request, collect
from components.lm.engines.vllm_host import VllmHost
from components.lm.generation import checkpoint_end_tokens, engine_of
from components.lm.loading import load_model, load_tokenizer
from tests.checkpoints import write_checkpoint

ASKED = [Request((1, 20 + i, 30 + i), 6) for i in range(5)]
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint with heads of 32, the narrowest that vLLM takes on a CPU."""
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), hidden=128)


@pytest.fixture(scope="module")
def adapters(folder, tmp_path_factory):
    """Two adapters that change what the model writes, the second one in one layer alone."""
    from peft import LoraConfig, get_peft_model

    folders = []
    for seed, layers in ((1, None), (2, [1])):
        torch.manual_seed(seed)
        settings = LoraConfig(
            r=4,
            lora_alpha=64,
            target_modules=["down_proj", "q_proj"],
            layers_to_transform=layers,
            init_lora_weights=False,
        )
        adapted = get_peft_model(load_model(folder), settings)
        folders.append(tmp_path_factory.mktemp("adapter"))
        adapted.save_pretrained(folders[-1])
    return folders


def written(folder, adapter, asked=ASKED):
    """Return what the engine in memory writes."""
    model = load_model(folder)
    model = attach_adapter(model, adapter) if adapter else model
    return collect(engine_of(model, load_tokenizer(folder), batch=2), asked, label="alone")


# --- the stand-in --------------------------------------------------------------------------------


@dataclass
class SamplingParams:
    """vLLM's, with the fields that are used here; it knows no others and takes every default."""

    max_tokens: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop_token_ids: list[int] | None = None
    logprobs: int | None = None
    detokenize: bool = True


class LLM:
    """It refuses and cuts as vLLM does, and writes with the engine in memory."""

    made: list[LLM] = []  # noqa: RUF012

    def __init__(
        self, model, *, dtype="auto", load_format="auto", enable_lora=False, max_loras=1,
        max_lora_rank=16, generation_config="auto", trust_remote_code=False,
        kv_cache_memory_bytes=None,
    ):  # fmt: skip
        if Path(model, "broken").exists():
            raise RuntimeError("Engine core initialization failed.")
        assert enable_lora and generation_config == "vllm" and not trust_remote_code
        assert load_format == "safetensors"
        self.model, self.room = Path(model), kv_cache_memory_bytes
        # A checkpoint of float32 is computed in bfloat16 unless that is said otherwise.
        self.dtype = "bfloat16" if dtype == "auto" else dtype
        self.context = 512
        self.made.append(self)

    def generate(self, prompts, settings, *, lora_request, use_tqdm):
        model = load_model(self.model).to(getattr(torch, self.dtype))
        if lora_request:
            # Weights that it has no place for are left out without a word.
            model = attach_adapter(model, Path(lora_request.lora_path))
        tokenizer = load_tokenizer(self.model)
        return [
            self._one(model, tokenizer, prompt["prompt_token_ids"], one)
            for prompt, one in zip(prompts, settings, strict=True)
        ]

    def _one(self, model, tokenizer, prompt, one):
        room = self.context - len(prompt)
        if room < 1:
            raise ValueError(f"This model's maximum context length is {self.context} tokens.")
        limit = min(one.max_tokens, room)
        asked = Request(tuple(prompt), limit, temperature=one.temperature, seed=one.seed)
        engine = engine_of(model, tokenizer, batch=8)
        ids = collect(engine, [asked], label="stand-in")[0][0]
        assert set(one.stop_token_ids) == engine.ends
        reason = "stop" if ids[-1] in one.stop_token_ids else "length"
        sure = None if one.logprobs is None else -1.5
        return SimpleNamespace(
            outputs=[
                SimpleNamespace(token_ids=list(ids), finish_reason=reason, cumulative_logprob=sure)
            ]
        )


class NoNumbers(LLM):
    """What vLLM writes where the logits are NaN: the vocabulary's first token, to the limit."""

    def _one(self, model, tokenizer, prompt, one):
        sure = None if one.logprobs is None else float("nan")
        ids = [0] * one.max_tokens
        return SimpleNamespace(
            outputs=[
                SimpleNamespace(token_ids=ids, finish_reason="length", cumulative_logprob=sure)
            ]
        )


@pytest.fixture
def library(monkeypatch):
    """Stand for vLLM on a CPU; returns its module, whose parts a test may change."""
    names = ("vllm", "vllm.lora", "vllm.lora.request", "vllm.platforms")
    library, lora, request, platforms = modules = [ModuleType(name) for name in names]
    library.LLM, library.SamplingParams, library.lora = LLM, SamplingParams, lora
    library.platforms, lora.request = platforms, request
    platforms.current_platform = SimpleNamespace(device_type="cpu")
    request.LoRARequest = lambda name, number, path: SimpleNamespace(lora_path=path)
    for name, module in zip(names, modules, strict=True):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("SAFEREACT_ENGINE", "vllm")
    monkeypatch.setenv("SAFEREACT_DEVICE", "cpu")
    for variable in ("SAFEREACT_PRECISION", "VLLM_CPU_KVCACHE_SPACE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(LLM, "made", [])
    return library


def host_of(folder):
    return VllmHost(folder, checkpoint_end_tokens(folder, load_tokenizer(folder)))


def test_vllm_is_refused_where_it_cannot_run(folder, library, monkeypatch):
    monkeypatch.setenv("SAFEREACT_DEVICE", "cuda")
    with pytest.raises(ConfigError, match="computes on cpu here, and asked for is cuda"):
        host_of(folder)
    library.platforms.current_platform.device_type = "cuda"
    monkeypatch.setenv("SAFEREACT_DEVICE", "cuda:1")
    with pytest.raises(ConfigError, match=r"asked for is cuda:1.*CUDA_VISIBLE_DEVICES"):
        host_of(folder)
    library.platforms.current_platform.device_type = ""  # a build for GPUs, where there is none
    monkeypatch.setenv("SAFEREACT_DEVICE", "cpu")
    with pytest.raises(ConfigError, match="computes on no device here"):
        host_of(folder)
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ConfigError, match="cannot be imported"), open_host(folder, batch=3):
        pass


def test_vllm_writes_what_the_engine_in_memory_does(folder, adapters, library):
    with open_host(folder, batch=3) as host:
        assert written(folder, None) != written(folder, adapters[0]) != written(folder, adapters[1])
        for adapter in (None, adapters[0], adapters[1], None):
            engine = host.engine("any", adapter)
            assert engine.name == "vllm"
            assert collect(engine, ASKED, label="vllm") == written(folder, adapter)
        sampled = [Request(r.prompt, 4, samples=3, temperature=1.0) for r in ASKED]
        rows = collect(host.engine("base", None), sampled, label="vllm")
    assert [len(samples) for samples in rows] == [3] * 5


@pytest.mark.parametrize("named", ["", "bfloat16", "auto"])
def test_vllm_computes_in_the_precision_that_evidence_names(
    folder, tmp_path, library, monkeypatch, named
):
    """`auto` is the checkpoint's own, here float32, of which vLLM's own `auto` makes bfloat16."""
    monkeypatch.setenv("SAFEREACT_PRECISION", named)
    host_of(folder)
    assert LLM.made[0].dtype == ("bfloat16" if named == "bfloat16" else "float32")


def test_vllm_leaves_memory_to_others_on_a_cpu(folder, library, monkeypatch):
    host_of(folder)
    assert LLM.made[0].room == CACHED_TOKENS * 2 * 3 * 2 * 32 * 4  # keys and values of 3 layers
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    host_of(folder)
    assert LLM.made[1].room is None


def test_what_vllm_refuses_or_cuts_is_an_error(folder, tmp_path, library):
    engine = host_of(folder).engine("base", None)
    with pytest.raises(ModelError, match="maximum context length is 512"):
        collect(engine, [Request((20,) * 600, 4)], label="vllm")
    LLM.made[0].context = 6  # shorter than the checkpoint's own
    with pytest.raises(ModelError, match="ended a completion after 3 tokens of 6 with 'length'"):
        collect(engine, ASKED[:1], label="vllm")
    broken = shutil.copytree(folder, tmp_path / "broken-one")
    (broken / "broken").touch()
    with pytest.raises(ModelError, match=r"vLLM cannot load .*broken-one"):
        host_of(broken)


def test_what_is_written_from_nan_is_no_completion(folder, library):
    library.LLM = NoNumbers
    engine = host_of(folder).engine("base", None)
    with pytest.raises(ModelError, match="not finite in float32"):
        collect(engine, ASKED, label="vllm")


def spoilt(adapter, place, spoil):
    shutil.copytree(adapter, place)
    weights = {key: spoil(key, value) for key, value in load_file(place / WEIGHTS).items()}
    save_file(dict(weights.values()), place / WEIGHTS, {"format": "pt"})
    return place


SPOIL = {
    "of layers that it has not": lambda k, v: (k.replace("layers.0.", "layers.9."), v),
    "of other names": lambda k, v: (k.replace("layers", "blocks"), v),
    "of another shape": lambda k, v: (k, v[:, :2].contiguous()),
    "no numbers": lambda k, v: (k, v * float("nan")),
}


@pytest.mark.parametrize("spoil", SPOIL.values(), ids=SPOIL)
def test_an_adapter_that_vllm_would_put_on_in_parts_is_refused(
    folder, adapters, library, tmp_path, spoil
):
    with pytest.raises(ModelError, match=r"does not fit this model|not finite"):
        host_of(folder).engine("restored", spoilt(adapters[0], tmp_path / "spoilt", spoil))


def test_an_adapter_that_vllm_has_no_room_for_is_refused(folder, library, tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 128}))
    with pytest.raises(ConfigError, match="rank 128, and vLLM is given room for 64"):
        host_of(folder).engine("restored", tmp_path)


# --- vLLM itself ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not find_spec("vllm"), reason="vLLM is not installed")
def test_vllm_itself_writes_what_the_engine_in_memory_does(folder, adapters, monkeypatch):
    monkeypatch.setenv("SAFEREACT_ENGINE", "vllm")
    monkeypatch.setenv("VLLM_NO_USAGE_STATS", "1")
    monkeypatch.setenv("SAFEREACT_PRECISION", "float32")
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with open_host(folder, batch=3) as host:
        for adapter in (None, *adapters, None):
            rows = collect(host.engine("any", adapter), ASKED, label="vllm")
            assert rows == written(folder, adapter)
        engine = host.engine("base", None)
        # Longer than a block of its cache, of which the second time finds what the first one left.
        long = [Request((*range(10, 60),) * 3 + (20 + i,), 6) for i in range(3)]
        for _ in range(2):
            assert collect(engine, long, label="vllm") == written(folder, None, long)
        with pytest.raises(ModelError, match="does not complete"):
            collect(engine, [Request((20,) * 600, 4)], label="vllm")
        host._ends = frozenset()  # nothing but the context ends a completion then
        with pytest.raises(ModelError, match=r"ended a completion after \d+ tokens of 40"):
            collect(engine, [Request((20,) * 500, 40)], label="vllm")
        held = {c.pid for c in psutil.Process().children(recursive=True)} - before
    left = [pid for pid in held if psutil.pid_exists(pid) and "vllm" in name_of(pid).lower()]
    assert held and not left


def name_of(pid):
    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else process.name()
    except psutil.Error:
        return ""
