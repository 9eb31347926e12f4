"""The engine vLLM; adapters are switched on the loaded checkpoint, which its own processes hold."""

from __future__ import annotations

import gc
import math
import os
from collections.abc import Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch

from components.core.errors import ConfigError, ModelError
from components.core.storage import read_json
from components.lm.adapters import check_adapter
from components.lm.architecture import outline
from components.lm.configuration import read_config, refusing
from components.lm.engines.in_process import CACHE_SHARE, position_bytes
from components.lm.engines.protocol import CACHED_TOKENS, Engine, Groups, Request
from components.lm.finite import not_finite
from components.lm.loading import (
    available_memory,
    context_length,
    default_device,
    precision_word,
)

MAX_RANK = 64  # of an adapter; vLLM sets memory aside for it
_GROUP = 256  # completions between two of which what is finished is handed on


class VllmHost:
    """A checkpoint in the memory of vLLM's processes, with room for one adapter."""

    def __init__(self, folder: Path, ends: frozenset[int]) -> None:
        device = default_device()
        self._vllm = _library(device)
        self._folder, self._ends, self._numbers = folder, ends, count(1)
        # Not "auto", by which vLLM computes a checkpoint of float32 in bfloat16.
        self._precision = precision_word(folder, device)
        with refusing(f"vLLM cannot load {folder}; its own lines above say more"):
            self._llm = self._vllm.LLM(
                model=str(folder),
                dtype=self._precision,
                load_format="safetensors",
                enable_lora=True,
                max_loras=1,
                max_lora_rank=MAX_RANK,
                generation_config="vllm",  # not the checkpoint's own sampling settings
                trust_remote_code=False,
                **_memory(folder, device),
            )

    def engine(self, arm: str, adapter: Path | None) -> Engine:
        """Return the engine of the checkpoint with the adapter in a folder, or without one.

        Raises `ModelError` where the adapter is not one of this checkpoint.
        """
        lora = None
        if adapter is not None:
            rank = read_json(adapter / "adapter_config.json")["r"]
            if rank > MAX_RANK:
                raise ConfigError(
                    f"the adapter in {adapter} has rank {rank}, and vLLM is given room for "
                    f"{MAX_RANK}; set SAFEREACT_ENGINE to transformers"
                )
            # vLLM leaves out weights that it has no place for, and loads those of other shapes.
            check_adapter(outline(self._folder), adapter)
            path = str(adapter.absolute())
            lora = self._vllm.lora.request.LoRARequest(arm, next(self._numbers), path)
        return Engine("vllm", self._ends, partial(self._write, lora))

    def close(self) -> None:
        """Give back the memory that the checkpoint takes; vLLM's processes end."""
        del self._llm
        gc.collect()

    def _write(self, lora: Any, requests: Sequence[Request]) -> Groups:
        """Yield the finished requests by their index, some hundreds of completions at a time."""
        group: dict[int, Request] = {}
        for i, request in enumerate(requests):
            group[i] = request
            if sum(one.samples for one in group.values()) >= _GROUP or i + 1 == len(requests):
                yield self._complete(lora, group)
                group = {}

    def _complete(self, lora: Any, group: dict[int, Request]) -> dict[int, tuple[Any, ...]]:
        """Return the completions of every request of a group; raises `ModelError` where vLLM
        refuses one or cuts it."""
        asked = [(one, k) for one in group.values() for k in range(one.samples)]
        with refusing("vLLM does not complete the prompts"):
            outputs = self._llm.generate(
                [{"prompt_token_ids": list(one.prompt)} for one, _ in asked],
                [self._settings(one, k) for one, k in asked],
                lora_request=lora,
                use_tqdm=False,
            )
        written = iter(
            [
                self._ids(output.outputs[0], one)
                for (one, _), output in zip(asked, outputs, strict=True)
            ]
        )
        return {k: tuple(next(written) for _ in range(one.samples)) for k, one in group.items()}

    def _ids(self, output: Any, request: Request) -> tuple[int, ...]:
        """Return a completion's ids; raises `ModelError` where it is not what was asked."""
        ids = tuple(output.token_ids)
        if not math.isfinite(output.cumulative_logprob):
            raise not_finite("logits", self._precision)
        ended = output.finish_reason == "stop" and ids and ids[-1] in self._ends
        whole = output.finish_reason == "length" and len(ids) == request.max_new_tokens
        if not (ended or whole):
            raise ModelError(
                f"vLLM ended a completion after {len(ids)} tokens of {request.max_new_tokens} with "
                f"{output.finish_reason!r}, without an end token: the context that it gives "
                f"{self._folder} may be shorter than the checkpoint's own; set SAFEREACT_ENGINE to "
                "transformers"
            )
        return ids

    def _settings(self, request: Request, sample: int) -> Any:
        return self._vllm.SamplingParams(
            max_tokens=request.max_new_tokens,
            temperature=request.temperature,
            top_p=request.top_p,
            top_k=request.top_k or -1,
            seed=request.sample_seed(sample),
            stop_token_ids=sorted(self._ends),
            logprobs=0,  # of the chosen token alone, which is no number where the logits are none
            detokenize=False,
        )


def _memory(folder: Path, device: torch.device) -> dict[str, int]:
    """Return what vLLM is told of the cache's room on a CPU, unless the environment says it.

    Of itself it takes 92 % of the machine's memory, and ends where others have more than the rest.
    """
    if device.type != "cpu" or os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
        return {}
    itemsize = getattr(torch, precision_word(folder, device)).itemsize
    positions = max(CACHED_TOKENS, context_length(folder))
    room = int((available_memory(device) or 0) * CACHE_SHARE)
    enough = positions * position_bytes(read_config(folder), itemsize)
    return {"kv_cache_memory_bytes": min(room, enough)}


def _library(device: torch.device) -> Any:
    """Return vllm; raises `ConfigError` where it is missing, or computes elsewhere than on
    `device`, which evidence names."""
    remedy = "set SAFEREACT_ENGINE to transformers, or to openai for a server elsewhere"
    try:
        import vllm
        import vllm.lora.request
        import vllm.platforms
    except ImportError as error:
        raise ConfigError(
            f"SAFEREACT_ENGINE is vllm, which cannot be imported here ({error}); docs/engines.md "
            f"says how it is installed, or {remedy}"
        ) from error
    found = vllm.platforms.current_platform.device_type  # empty where it finds none
    if found != device.type or device.index:
        raise ConfigError(
            f"SAFEREACT_ENGINE is vllm, which computes on {found or 'no device'} here, and asked "
            f"for is {device}: set SAFEREACT_DEVICE to what vLLM was built for, without a number "
            f"(CUDA_VISIBLE_DEVICES chooses GPUs), or {remedy}"
        )
    return vllm
