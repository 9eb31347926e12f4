"""The engine vLLM, for GPUs; adapters are switched on the loaded checkpoint."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from components.core.errors import ConfigError
from components.core.storage import read_json
from components.lm.engines.protocol import Completions, Request

MAX_RANK = 64  # of an adapter; vLLM sets memory aside for it
_CHUNK = 256  # completions between two of which what is finished is handed on


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

    def engine(self, arm: str, adapter: Path | None) -> VllmEngine:
        """Return the engine of the checkpoint with the adapter in a folder, or without one."""
        lora = None
        if adapter is not None:
            rank = read_json(adapter / "adapter_config.json")["r"]
            if rank > MAX_RANK:
                raise ConfigError(
                    f"the adapter in {adapter} has rank {rank}, and vLLM is given room for "
                    f"{MAX_RANK}; set SAFEREACT_ENGINE to transformers"
                )
            request = self._vllm.lora.request.LoRARequest
            lora = request(arm, next(self._numbers), str(adapter))
        return VllmEngine(self._llm, self._ends, lora, self._vllm.SamplingParams)

    def close(self) -> None:
        """Give back the GPU's memory."""
        del self._llm
        gc.collect()


class VllmEngine:
    """The checkpoint with one adapter or with none."""

    name = "vllm"

    def __init__(self, llm: Any, ends: frozenset[int], lora: Any, settings: Any) -> None:
        self.ends = ends
        self._llm, self._lora, self._sampling = llm, lora, settings

    def write(self, requests: Sequence[Request]) -> Iterator[dict[int, Completions]]:
        """Yield the finished requests by their index, some hundreds of completions at a time."""
        group: list[int] = []
        for i in range(len(requests)):
            group.append(i)
            if sum(requests[k].samples for k in group) >= _CHUNK or i + 1 == len(requests):
                yield self._written({k: requests[k] for k in group})
                group = []

    def _written(self, requests: dict[int, Request]) -> dict[int, Completions]:
        asked = [(i, sample) for i in requests for sample in range(requests[i].samples)]
        outputs = self._llm.generate(
            [{"prompt_token_ids": list(requests[i].prompt)} for i, _ in asked],
            [self._settings(requests[i], sample) for i, sample in asked],
            lora_request=self._lora,
            use_tqdm=False,
        )
        written: dict[int, list[tuple[int, ...]]] = {i: [] for i in requests}
        for (i, _), output in zip(asked, outputs, strict=True):
            written[i].append(tuple(output.outputs[0].token_ids))
        return {i: tuple(samples) for i, samples in written.items()}

    def _settings(self, request: Request, sample: int) -> Any:
        return self._sampling(
            max_tokens=request.max_new_tokens,
            temperature=request.temperature,
            top_p=request.top_p,
            seed=request.sample_seed(sample),
            stop_token_ids=sorted(self.ends),
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
