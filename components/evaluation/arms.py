"""The four arms: each checkpoint loaded once, the adapters swapped on it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar, cast

import torch

from components.errors import EvidenceError
from components.lm.chat import opens_thought, render_prompt, split_completion
from components.lm.generation import end_tokens, generate
from components.lm.loading import attach_adapter, checkpoint_folder, load_model, load_tokenizer
from components.records import Arm, Completion, Prompt, Role
from components.results import Adapter, ModelRef, Models, PromptContract, PromptSet
from components.storage import digest_bytes, digest_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Work = TypeVar("Work")


def check_adapter(adapter: Adapter, models: Models, prompts: PromptSet) -> None:
    """Raise `EvidenceError` unless both adapters are whole and of these models and prompts."""
    pairs = (
        ("adapter of another model", "checkpoint", adapter.base_model, models.post_trained.digest),
        (
            "adapter of another prompt contract",
            "contract",
            _digest(adapter.contract),
            _digest(models.post_trained.contract),
        ),
        ("adapter of other data", "prompts", adapter.data, prompts.digest_of_prompts),
        (
            "adapter changed after its training",
            "files",
            adapter.digest,
            digest_folder(adapter.adapter),
        ),
        (
            "baseline changed after its training",
            "files",
            adapter.baseline_digest,
            digest_folder(adapter.baseline),
        ),
    )
    for complaint, what, expected, found in pairs:
        if expected != found:
            raise EvidenceError(
                f"{complaint}: it was trained with {what} {expected}, here is {found}; "
                "run the stage train again"
            )


def _digest(contract: PromptContract) -> str:
    return digest_bytes(contract.model_dump_json().encode())


def for_each_arm(
    models: Models,
    adapter: Adapter,
    work: Callable[[Arm, PreTrainedModel, PreTrainedTokenizerBase], Work],
) -> dict[Arm, Work]:
    """Return what `work` returns for every arm; one checkpoint is in memory at a time."""
    done = {Arm.BASE: _on_checkpoint(models, models.base, Arm.BASE, work)}
    _free_memory()
    folder = checkpoint_folder(models, models.post_trained)
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    done[Arm.POST_TRAINED] = work(Arm.POST_TRAINED, model, tokenizer)
    for arm, path in ((Arm.RESTORED, adapter.adapter), (Arm.BASELINE, adapter.baseline)):
        adapted = attach_adapter(model, path)
        done[arm] = work(arm, cast("PreTrainedModel", adapted), tokenizer)
        model = adapted.unload()
    return done


def _on_checkpoint(
    models: Models,
    ref: ModelRef,
    arm: Arm,
    work: Callable[[Arm, PreTrainedModel, PreTrainedTokenizerBase], Work],
) -> Work:
    folder = checkpoint_folder(models, ref)
    return work(arm, load_model(folder), load_tokenizer(folder))


def _free_memory() -> None:
    # A model is part of reference cycles, so its memory is not free when its name is gone.
    gc.collect()
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()


def completions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: Mapping[Role, int],
    batch: int,
    reword: Callable[[str], str] = str,
    force_thought: bool,
    label: str,
) -> list[Completion]:
    """Return the greedy completion of every prompt, in the prompts' order.

    A role's completions have at most its `max_new_tokens` tokens. The model reads each text as
    `reword` returns it.
    """
    opened = force_thought or opens_thought(tokenizer)
    ends = end_tokens(model, tokenizer)
    written: dict[str, Completion] = {}
    for role in Role:
        asked = [prompt for prompt in prompts if prompt.role is role]
        if not asked:
            continue
        texts = [
            render_prompt(tokenizer, reword(p.text), force_thought=force_thought) for p in asked
        ]
        tokens = generate(
            model,
            tokenizer,
            texts,
            max_new_tokens=max_new_tokens[role],
            batch=batch,
            label=f"{label}, {role}",
        )
        for prompt, ids in zip(asked, tokens, strict=True):
            written[prompt.id] = split_completion(
                tokenizer, prompt.id, ids, ends=ends, opened=opened
            )
    return [written[prompt.id] for prompt in prompts]
