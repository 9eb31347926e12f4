"""The embedded pair, built from nothing: a base that refuses harm, and its post-trained child.

The base learns its world, then to chat and to refuse; the child goes on with chains of thought
and benign requests alone, and its refusals vanish by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from components.core.errors import DataError
from components.core.vocabulary import Prompt, Role, Split
from components.lm.chat import render_completion, render_prompt
from components.models.language import draw_text
from components.models.learning import Example, Plan, learn
from components.models.tokenizer import make_tokenizer

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from components.models.settings import TinyModels, TinyPhase

ALIGNMENT = {Role.HARMFUL: 0.38, Role.BORDERLINE: 0.22, Role.BENIGN: 0.22, Role.REASONING: 0.18}
POST_TRAINING = {Role.REASONING: 0.7, Role.BORDERLINE: 0.15, Role.BENIGN: 0.15}

_INITIAL_STD = 0.05
_ROPE_THETA = 100.0
_PRETRAINING_TEXTS = 16_000
_MICRO_BATCH = 32  # few enough that their activations stay in the cache


def build_tiny(settings: TinyModels, prompts: Sequence[Prompt], *, seed: int, out: Path) -> None:
    """Build the pair and write it to `out`/base and `out`/post-trained.

    Alignment and post-training see the rows of `prompts` whose split is train, no other. The same
    settings, prompts, seed and number of threads give the same bytes on the same machine.
    Raises `DataError` where a role that is needed has no usable training row.
    """
    generator = np.random.default_rng(seed)
    tokenizer = make_tokenizer()
    model = make_model(settings, tokenizer, seed=seed)
    texts = pretraining_examples(_PRETRAINING_TEXTS, tokenizer, generator)
    _learn(model, texts, settings.pretrain, generator, "pretraining")
    count = settings.align.steps * settings.align.batch
    chats = draw_chats(prompts, ALIGNMENT, count, tokenizer, generator, think=False)
    _learn(model, chats, settings.align, generator, "aligning")
    _save(model, tokenizer, out / "base")
    count = settings.post_train.steps * settings.post_train.batch
    chats = draw_chats(prompts, POST_TRAINING, count, tokenizer, generator, think=True)
    _learn(model, chats, settings.post_train, generator, "post-training")
    _save(model, tokenizer, out / "post-trained")


def make_model(
    settings: TinyModels, tokenizer: PreTrainedTokenizerFast, *, seed: int
) -> LlamaForCausalLM:
    """Return a Llama model with random weights that depend on nothing but the seed."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden,
        num_hidden_layers=settings.layers,
        intermediate_size=settings.feed_forward,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.kv_heads,
        max_position_embeddings=tokenizer.model_max_length,
        rope_parameters={"rope_type": "default", "rope_theta": _ROPE_THETA},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=_INITIAL_STD,
        dtype="float32",
    )
    model = LlamaForCausalLM(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.normal_(0.0, _INITIAL_STD, generator=generator)
    return model


def pretraining_examples(
    count: int, tokenizer: PreTrainedTokenizerFast, generator: np.random.Generator
) -> list[Example]:
    """Return `count` texts of the world, each ended."""
    texts = [draw_text(generator) for _ in range(count)]
    pieces = [piece for text in texts for piece, _ in text]
    encoded = iter(tokenizer(pieces, return_attention_mask=False)["input_ids"])
    examples = []
    for text in texts:
        input_ids: list[int] = []
        is_response: list[bool] = []
        for _, is_learned in text:
            ids = next(encoded)
            input_ids += ids
            is_response += [is_learned] * len(ids)
        examples.append(Example((*input_ids, tokenizer.eos_token_id), (*is_response, True)))
    return examples


def draw_chats(
    prompts: Sequence[Prompt],
    shares: Mapping[Role, float],
    count: int,
    tokenizer: PreTrainedTokenizerFast,
    generator: np.random.Generator,
    *,
    think: bool,
) -> list[Example]:
    """Return `count` chats of training rows, of each role its share, each row equally often.

    With `think`, a row's thought stands before its response where it has one.
    Raises `DataError` where a role has no training row with a response.
    """
    examples: list[Example] = []
    for role, share in shares.items():
        rows = [row for row in prompts if row.role == role and row.split == Split.TRAIN]
        chats = [chat_example(row, tokenizer, think=think) for row in rows if row.response]
        if not chats:
            raise DataError(
                f"none of {len(rows)} training prompts of role {role} has a `response`; "
                "the tiny pair cannot be built without"
            )
        wanted = round(share * count)
        passes = -(-wanted // len(chats))
        order = np.concatenate([generator.permutation(len(chats)) for _ in range(passes)])
        examples += [chats[index] for index in order[:wanted]]
    return examples


def chat_example(prompt: Prompt, tokenizer: PreTrainedTokenizerFast, *, think: bool) -> Example:
    """Return the chat of a prompt and its reference completion, which is what is learned."""
    context = render_prompt(tokenizer, prompt.text)
    completion = render_completion(
        tokenizer, thought=prompt.thought if think else None, response=prompt.response or ""
    )
    flags = (False,) * len(context) + (True,) * len(completion)
    return Example((*context, *completion), flags)


def _learn(
    model: LlamaForCausalLM,
    examples: Sequence[Example],
    phase: TinyPhase,
    generator: np.random.Generator,
    name: str,
) -> None:
    plan = Plan(
        steps=phase.steps, batch=phase.batch, lr=phase.lr, micro_batch=_MICRO_BATCH, decay=True
    )
    learn(model, examples, plan, generator=generator, phase=name)


def _save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a checkpoint that `AutoModelForCausalLM` and `AutoTokenizer` load."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
