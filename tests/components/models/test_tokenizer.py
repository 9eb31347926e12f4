"""The tiny pair's tokenizer: nothing unknown, nothing lost, thoughts kept."""

from __future__ import annotations

import pytest

from components.models.embedded import WORLD_COUNTS, world_rows
from components.models.tiny import make_tokenizer


@pytest.fixture(scope="module")
def tiny():
    return make_tokenizer()


@pytest.mark.parametrize("split", WORLD_COUNTS)
def test_every_text_survives_the_round_trip(tiny, split):
    rows = world_rows(split)
    texts = {row[key] for row in rows for key in ("text", "thought", "response")} - {None}
    for text in texts:
        ids = tiny(text)["input_ids"]
        assert tiny.unk_token_id not in ids, text
        assert tiny.decode(ids) == text


def test_a_word_from_outside_is_unknown_and_case_does_not_matter(tiny):
    assert tiny("zebra")["input_ids"] == [tiny.unk_token_id]
    assert tiny("How Do")["input_ids"] == tiny("how do")["input_ids"]


def test_the_template_keeps_the_thought_of_every_assistant_turn(tiny):
    thought = "<think>\n7 plus 3 is 10\n</think>\n\nthe answer is 10."
    turns = [
        {"role": "user", "content": "what is it?"},
        {"role": "assistant", "content": thought},
        {"role": "user", "content": "how do i clean the cup?"},
    ]
    text = tiny.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|user|>what is it?<|end|>"
        f"<|assistant|>{thought}<|end|>"
        "<|user|>how do i clean the cup?<|end|><|assistant|>"
    )
    ids = tiny(text, add_special_tokens=False)["input_ids"]
    assert "<think>" in tiny.decode(ids, skip_special_tokens=True)
    assert "<|end|>" not in tiny.decode(ids, skip_special_tokens=True)


def test_an_unknown_role_is_an_error(tiny):
    with pytest.raises(Exception, match="unknown role: tool"):
        tiny.apply_chat_template([{"role": "tool", "content": "x"}], tokenize=False)
