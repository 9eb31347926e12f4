"""Greedy generation: order, ends, independence of the batch."""

from __future__ import annotations

import pytest
import torch

from components.lm import chat
from components.lm.generation import end_tokens, generate
from components.lm.loading import checkpoint_folder, load_model, load_tokenizer


@pytest.fixture(scope="module")
def pair(random_models):
    folder = checkpoint_folder(random_models, random_models.base)
    return load_model(folder), load_tokenizer(folder)


@pytest.fixture(scope="module")
def prompts(pair, random_prompts):
    return [chat.render_prompt(pair[1], row.text) for row in random_prompts.rows()[:9]]


def slow(model, prompt, ends, limit):
    """One token at a time, without a cache, without padding."""
    ids, written = list(prompt), []
    while len(written) < limit and not (written and written[-1] in ends):
        with torch.inference_mode():
            written.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        ids.append(written[-1])
    return written


def test_it_equals_a_slow_loop_for_every_batch_size(pair, prompts):
    model, tokenizer = pair
    ends = end_tokens(model, tokenizer)
    expected = [slow(model, prompt, ends, 6) for prompt in prompts]
    for batch in (1, 4, 9):
        written = generate(model, tokenizer, prompts, max_new_tokens=6, batch=batch)
        assert written == expected


def test_the_checkpoints_sampling_settings_are_not_used(pair, prompts):
    model, tokenizer = pair
    plain = generate(model, tokenizer, prompts, max_new_tokens=6, batch=4)
    model.generation_config.do_sample = True
    model.generation_config.temperature = 5.0
    try:
        assert generate(model, tokenizer, prompts, max_new_tokens=6, batch=4) == plain
    finally:
        model.generation_config.do_sample = False
        model.generation_config.temperature = 1.0


def test_a_completion_ends_at_its_end_token(pair, prompts):
    model, tokenizer = pair
    first = generate(model, tokenizer, prompts[:1], max_new_tokens=4, batch=1)[0][0]
    model.generation_config.eos_token_id = [first, tokenizer.eos_token_id]
    try:
        assert first in end_tokens(model, tokenizer)
        written = generate(model, tokenizer, prompts, max_new_tokens=4, batch=9)
    finally:
        model.generation_config.eos_token_id = tokenizer.eos_token_id
    assert written[0] == [first]
    for ids in written:
        assert first not in ids[:-1]


def test_no_prompts_no_completions(pair):
    assert generate(*pair, [], max_new_tokens=4, batch=9) == []
