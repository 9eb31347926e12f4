"""Completions of a model in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import GenerationConfig

from components.lm.configuration import GENERATION, read_config
from components.lm.engines.in_process import in_process
from components.lm.engines.protocol import Engine, Request, collect
from components.lm.templates import template_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the tokens that end a completion: the tokenizer's, the checkpoint's own, and the one
    that the template puts behind an assistant's turn."""
    return _ends(model.generation_config, tokenizer)


def checkpoint_end_tokens(folder: Path, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return what `end_tokens` does of the model in `folder`, without loading it."""
    config = read_config(folder)
    if (folder / GENERATION).is_file():
        return _ends(GenerationConfig.from_pretrained(folder, local_files_only=True), tokenizer)
    return _ends(GenerationConfig.from_model_config(config), tokenizer)


def _ends(settings: Any, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    named = settings.eos_token_id
    turn = template_of(tokenizer).end if tokenizer.chat_template else None
    ends = (*(named if isinstance(named, list) else [named]), tokenizer.eos_token_id, turn)
    return frozenset(int(token) for token in ends if token is not None)


def engine_of(model: Any, tokenizer: PreTrainedTokenizerBase, *, batch: int) -> Engine:
    """Return the engine of a causal language model in memory, with an adapter or without, that
    writes at most `batch` completions at once."""
    return in_process(model, end_tokens(model, tokenizer), rows=batch)


def generate(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    batch: int,
    label: str = "generating",
    temperature: float = 0.0,
    seed: int = 0,
) -> list[list[int]]:
    """Return the generated token ids of every prompt, in the prompts' order, greedily by default.

    `model` is a causal language model, with an adapter or without. The end token, where one was
    written, is the last id. The checkpoint's own sampling settings are not used.
    """
    requests = [
        Request(tuple(prompt), max_new_tokens, temperature=temperature, seed=seed)
        for prompt in prompts
    ]
    engine = engine_of(model, tokenizer, batch=batch)
    return [list(samples[0]) for samples in collect(engine, requests, label=label)]
