"""Greedy completions in batches of similar length."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig

from components.lm.batches import by_length, pad_left

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the tokens that end a completion: the tokenizer's and the checkpoint's own."""
    named = model.generation_config.eos_token_id
    own = named if isinstance(named, list) else [named]
    return frozenset(int(token) for token in (*own, tokenizer.eos_token_id) if token is not None)


@torch.inference_mode()
def generate(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    batch: int,
    label: str = "generating",
) -> list[list[int]]:
    """Return the generated token ids of every prompt, in the prompts' order, greedily.

    `model` is a causal language model, with an adapter or without. The end token, where one was
    written, is the last id; padding is cut off. The checkpoint's own sampling settings are not
    used.
    """
    ends = end_tokens(model, tokenizer)
    settings = GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,
        eos_token_id=sorted(ends),
        pad_token_id=tokenizer.pad_token_id,
    )
    device = next(model.parameters()).device
    results: list[list[int]] = [[] for _ in prompts]
    done = 0
    for rows in by_length(prompts, batch):
        ids, mask = pad_left([prompts[i] for i in rows], tokenizer.pad_token_id)
        output = model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            generation_config=settings,
        )
        for row, written in zip(rows, output[:, ids.shape[1] :].tolist(), strict=True):
            end = next((i for i, token in enumerate(written) if token in ends), None)
            results[row] = written if end is None else written[: end + 1]
        done += len(rows)
        log.info("%s %d/%d", label, done, len(prompts))
    return results
