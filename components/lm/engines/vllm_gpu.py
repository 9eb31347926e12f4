"""The engine vLLM, for GPUs; adapters are switched on the loaded checkpoint."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from components.core.errors import ConfigError
from components.core.storage import read_json
from components.lm.engines.protocol import Engine, Groups, Request

MAX_RANK = 64  # of an adapter; vLLM sets memory aside for it
_GROUP = 256  # completions between two of which what is finished is handed on


class VllmHost:
    """A checkpoint in vLLM's memory, with room for one adapter."""

    def __init__(self, folder: Path, ends: frozenset[int]) -> None:
        self._vllm = _library()
        self._ends, self._numbers = ends, count(1)
        self._llm = self._vllm.LLM(
            model=str(folder),
            enable_lora=True,
            max_loras=1,
            max_lora_rank=MAX_RANK,
            generation_config="vllm",  # not the checkpoint's own sampling settings
            trust_remote_code=False,
        )

    def engine(self, arm: str, adapter: Path | None) -> Engine:
        """Return the engine of the checkpoint with the adapter in a folder, or without one."""
        lora = None
        if adapter is not None:
            rank = read_json(adapter / "adapter_config.json")["r"]
            if rank > MAX_RANK:
                raise ConfigError(
                    f"the adapter in {adapter} has rank {rank}, and vLLM is given room for "
                    f"{MAX_RANK}; set SAFEREACT_ENGINE to transformers"
                )
            lora = self._vllm.lora.request.LoRARequest(arm, next(self._numbers), str(adapter))
        return Engine("vllm", self._ends, partial(self._write, lora))

    def close(self) -> None:
        """Give back the GPU's memory."""
        del self._llm
        gc.collect()

    def _write(self, lora: Any, requests: Sequence[Request]) -> Groups:
        """Yield the finished requests by their index, some hundreds of completions at a time."""
        group: dict[int, Request] = {}
        for i, request in enumerate(requests):
            group[i] = request
            if sum(one.samples for one in group.values()) >= _GROUP or i + 1 == len(requests):
                outputs = self._llm.generate(
                    [
                        {"prompt_token_ids": list(one.prompt)}
                        for one in group.values()
                        for _ in range(one.samples)
                    ],
                    [self._settings(one, k) for one in group.values() for k in range(one.samples)],
                    lora_request=lora,
                    use_tqdm=False,
                )
                written = iter([tuple(output.outputs[0].token_ids) for output in outputs])
                yield {
                    k: tuple(next(written) for _ in range(one.samples)) for k, one in group.items()
                }
                group = {}

    def _settings(self, request: Request, sample: int) -> Any:
        return self._vllm.SamplingParams(
            max_tokens=request.max_new_tokens,
            temperature=request.temperature,
            top_p=request.top_p,
            top_k=request.top_k or -1,
            seed=request.sample_seed(sample),
            stop_token_ids=sorted(self._ends),
            detokenize=False,
        )


def _library() -> Any:
    """Return vllm; raises `ConfigError` where it or a GPU is missing."""
    import torch

    remedy = "set SAFEREACT_ENGINE to transformers, or to openai for a server elsewhere"
    try:
        import vllm
        import vllm.lora.request
    except ImportError as error:
        raise ConfigError(
            "SAFEREACT_ENGINE is vllm, which is not installed: pip install 'safereact-ops[vllm]', "
            f"or {remedy}"
        ) from error
    if not torch.cuda.is_available():
        raise ConfigError(f"SAFEREACT_ENGINE is vllm, and torch finds no GPU here; {remedy}")
    return vllm
