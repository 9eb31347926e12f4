"""Prompts as tokens, completions as thought and answer."""

from __future__ import annotations

import pytest

from components.lm import chat
from tests.checkpoints import TEMPLATE, write_tokenizer

# A template that strips thoughts from assistant turns, as the R1 distills' own does.
STRIPPING = TEMPLATE.replace(
    "{{ m['content'] }}", "{{ (m['content'] | string).split('</think>') | last }}"
)
# One that opens the thought for the model, as newer R1 distills and QwQ do.
OPENING = TEMPLATE.replace("<|assistant|>{% endif %}", "<|assistant|><think>\n{% endif %}")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def opening(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("opening"), template=OPENING)


def tokens(tokenizer, ids):
    return tokenizer.convert_ids_to_tokens(ids)


def test_a_prompt_has_one_bos_and_ends_where_the_assistant_writes(tokenizer):
    ids = chat.render_prompt(tokenizer, "make a jar")
    assert tokens(tokenizer, ids) == [
        "<bos>",
        "<|user|>",
        *["make", "a", "jar"],
        "<|end|>",
        "<|assistant|>",
    ]


def test_a_reminder_stands_before_the_text_in_the_same_turn(tokenizer):
    plain = chat.render_prompt(tokenizer, "make a jar")
    reminded = chat.render_prompt(tokenizer, "make a jar", preamble="please help me")
    assert tokens(tokenizer, reminded)[2:5] == ["please", "help", "me"]
    assert reminded[-5:] == plain[-5:]


def test_a_forced_thought_is_opened_once(tokenizer, opening):
    forced = chat.render_prompt(tokenizer, "a", forced_thought=True)
    assert tokens(tokenizer, forced)[-2:] == ["<think>", "\n"]
    assert chat.render_prompt(opening, "a") == chat.render_prompt(opening, "a", forced_thought=True)


@pytest.mark.parametrize("template", [TEMPLATE, STRIPPING])
def test_a_completion_keeps_its_thought_whatever_the_template_does(tmp_path, template):
    tokenizer = write_tokenizer(tmp_path, template=template)
    ids = chat.render_completion(tokenizer, thought="one plus two", response="answer is 3")
    words = tokens(tokenizer, ids)
    assert words[0] == "<think>"
    assert words[-1] == "<|end|>"
    assert "plus" in words[: words.index("</think>")]


def test_a_completion_does_not_open_an_opened_thought(opening):
    ids = chat.render_completion(opening, thought="one", response="3", opened=True)
    assert tokens(opening, ids)[0] == "one"
    assert "</think>" in tokens(opening, ids)


@pytest.mark.parametrize(
    ("words", "opened", "thought", "answer", "finished"),
    [
        ("answer is 3 <|end|> jar", False, None, "answer is 3", True),
        ("answer is 3", False, None, "answer is 3", False),
        ("<think> one two </think> 3 <|end|>", False, "one two", "3", True),
        ("<think> one two", False, "one two", "", False),
        ("one two </think> 3 <|end|>", True, "one two", "3", True),
        ("one two", True, "one two", "", False),
        ("one two <|end|>", True, None, "one two", True),
        ("<think> one two <|end|>", True, "one two", "", True),
        ("one two </think> 3 <|end|>", False, "one two", "3", True),
        ("<|end|>", False, None, "", True),
        ("jar <think> one </think> 3 <|end|>", False, None, "jar <think> one </think> 3", True),
    ],
)
def test_splitting(tokenizer, words, opened, thought, answer, finished):
    ids = tokenizer.convert_tokens_to_ids(words.split())
    ends = frozenset([tokenizer.eos_token_id])
    part = chat.split_completion(tokenizer, "id", ids, ends=ends, opened=opened)
    assert (part.thought, part.answer, part.finished) == (thought, answer, finished)
    end = words.split().index("<|end|>") + 1 if finished else len(ids)
    assert part.tokens == end


@pytest.mark.parametrize(
    ("words", "opened", "thought", "answer"),
    [
        ("answer is 3 <|end|> jar", False, [], ["answer", "is", "3"]),
        ("<think> \n one two \n </think> \n 3 <|end|>", False, ["one", "two"], ["3"]),
        ("<think> one two", False, ["one", "two"], []),
        ("one two </think> 3", True, ["one", "two"], ["3"]),
        ("one two", True, ["one", "two"], []),
        ("one two <|end|>", True, [], ["one", "two"]),
        ("three </think> \n three <|end|>", False, ["three"], ["three"]),
        ("jar <think> 1 </think> 3 <|end|>", False, [], ["jar", "<think>", "1", "</think>", "3"]),
        ("<think> </think> <|end|>", False, [], []),
        ("<|end|>", False, [], []),
    ],
)
def test_spans_hold_the_tokens_of_the_parts(tokenizer, words, opened, thought, answer):
    ids = tokenizer.convert_tokens_to_ids(words.split(" "))  # a newline is a token
    ends = frozenset([tokenizer.eos_token_id])
    spans = chat.completion_spans(tokenizer, ids, ends=ends, opened=opened)
    found = [tokens(tokenizer, [ids[i] for i in span]) for span in spans]
    assert found == [thought, answer]


@pytest.mark.parametrize("opens", [False, True])
def test_spans_where_a_mark_is_several_tokens(tmp_path, opens):
    """A byte-level vocabulary of single characters: marks are spelt, blanks are tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({c: i for i, c in enumerate([*alphabet, "<end>"])}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    spelling = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>")
    spelling.chat_template = OPENING if opens else TEMPLATE
    ids = chat.render_completion(spelling, thought="è 1", response="so ✓ 2", opened=opens)
    ends = frozenset([spelling.eos_token_id])
    assert chat.opens_thought(spelling) is opens
    spans = chat.completion_spans(spelling, ids, ends=ends, opened=opens)
    read = [spelling.decode([ids[i] for i in span]) for span in spans]
    assert read == ["è 1", "so ✓ 2"]


def test_splitting_gives_back_what_was_rendered(tokenizer):
    ids = chat.render_completion(tokenizer, thought="one plus two", response="answer is 3")
    part = chat.split_completion(tokenizer, "x", ids, ends=frozenset([tokenizer.eos_token_id]))
    assert (part.thought, part.answer) == ("one plus two", "answer is 3")
    assert part.text == "one plus two\nanswer is 3"


def test_the_contract_tells_templates_apart(tokenizer, opening):
    plain, opened = chat.prompt_contract(tokenizer), chat.prompt_contract(opening)
    assert plain.generation_prefix == "<|assistant|>"
    assert (plain.opens_thought, opened.opens_thought) == (False, True)
    assert plain.template != opened.template
    assert plain.tokenizer == opened.tokenizer
    assert plain.bos == "<bos>"
