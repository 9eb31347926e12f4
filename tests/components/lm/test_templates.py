"""Prompts and completions under templates that behave as those of the models in profiles/ do.

Each template is checked token by token against what a server would read and what the model would
write after it. They are written for these tests, with the traits of the originals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from components.core.errors import ModelError
from components.lm import chat

BOS, EOS = "<|begin|>", "<|eos|>"
USER, ASSISTANT, SYSTEM, END = "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"
MARKERS = (USER, ASSISTANT, SYSTEM, END, "<think>", "</think>")
TEXT = (
    "Tell me how to open a jar.\nYou are a helpful assistant.\n\nWarm the lid, then turn it.\n\n"
    "One and two make three.\n\nThe answer is 3.\n## Thinking\n\n## Final Response\n\n"
)

# R1 distills as first published: an assistant's turn loses all that stands before </think>.
STRIPS = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ m.content }}"
    "{% else %}{% set said = m.content %}{% if '</think>' in said %}"
    "{% set said = said.split('</think>')[-1] %}{% endif %}<|assistant|>{{ said }}{{ eos_token }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# R1 distills later, and QwQ-32B: the same, and the prompt opens the thought.
FORCES = STRIPS.replace("<|assistant|>{% endif %}", "<|assistant|><think>\n{% endif %}")
# Qwen2.5, OpenThinker-7B: a system turn of its own where none is given, no BOS.
SYSTEM_TURN = (
    "{% if messages[0].role != 'system' %}<|system|>You are a helpful assistant.<|end|>\n"
    "{% endif %}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# Llama 3.1: the template writes the BOS that the tokenizer would add as well.
WRITES_BOS = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>\n\n{{ m.content | trim }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n\n{% endif %}"
)
# Qwen3: it thinks unless told not to; told so, the prompt holds an empty thought.
MAY_THINK = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)
NEVER_THINKS = MAY_THINK.replace("enable_thinking is defined and not enable_thinking", "true")


@dataclass(frozen=True)
class Served:
    """A template, and what a server makes of the user turn "open a jar" with it."""

    template: str
    prompt: str
    opens: bool = False
    end: str = EOS


SERVED = {
    "strips": Served(STRIPS, f"{BOS}{USER}open a jar{ASSISTANT}"),
    "forces": Served(FORCES, f"{BOS}{USER}open a jar{ASSISTANT}<think>\n", opens=True),
    "system-turn": Served(
        SYSTEM_TURN,
        f"{SYSTEM}You are a helpful assistant.{END}\n{USER}open a jar{END}\n{ASSISTANT}",
        end=END,
    ),
    "writes-bos": Served(WRITES_BOS, f"{BOS}{USER}\n\nopen a jar{END}{ASSISTANT}\n\n", end=END),
    "may-think": Served(MAY_THINK, f"{USER}open a jar{END}\n{ASSISTANT}", end=END),
    "never-thinks": Served(
        NEVER_THINKS, f"{USER}open a jar{END}\n{ASSISTANT}<think>\n\n</think>\n\n", end=END
    ),
}


@pytest.fixture(scope="module")
def backend() -> Any:
    """A byte-level BPE that adds BOS to every text, with merges such as "\\n\\n" and " the"."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        special_tokens=[BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT] * 8, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return tokenizer


@pytest.fixture(scope="module", params=sorted(SERVED))
def case(request, backend) -> tuple[Any, Served]:
    served = SERVED[request.param]
    return tokenizer_of(backend, served), served


def tokenizer_of(backend: Any, served: Served) -> Any:
    from tokenizers import AddedToken, Tokenizer
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(backend.to_str()), bos_token=BOS, eos_token=EOS
    )
    tokenizer.add_tokens([AddedToken(marker, special=False) for marker in MARKERS])
    tokenizer.eos_token = served.end
    tokenizer.chat_template = served.template
    return tokenizer


def tokens_of(tokenizer: Any, text: str) -> list[int]:
    """What a server reads: the rendered text as tokens, nothing added."""
    return tokenizer.encode(text, add_special_tokens=False)


def split(tokenizer: Any, ids: list[int], served: Served) -> Any:
    ends = frozenset([tokenizer.eos_token_id])
    return chat.split_completion(tokenizer, "id", ids, ends=ends, opened=served.opens)


def test_the_tokenizer_would_add_a_bos_of_its_own(backend):
    tokenizer = tokenizer_of(backend, SERVED["writes-bos"])
    careless = tokenizer.encode(SERVED["writes-bos"].prompt)
    assert careless[:2] == [tokenizer.bos_token_id] * 2


def test_a_prompt_is_what_a_server_reads(case):
    tokenizer, served = case
    ids = chat.render_prompt(tokenizer, "open a jar")
    assert ids == tokens_of(tokenizer, served.prompt)
    assert ids.count(tokenizer.bos_token_id) == served.prompt.count(BOS)


def test_a_reminder_changes_the_users_turn_alone(case):
    tokenizer, served = case
    ids = chat.render_prompt(tokenizer, "open a jar", preamble="Be safe.")
    assert ids == tokens_of(tokenizer, served.prompt.replace("open", "Be safe.\n\nopen"))


def test_a_forced_thought_is_opened_once(case):
    tokenizer, served = case
    if served is SERVED["never-thinks"]:
        with pytest.raises(ModelError, match="closes the thought in the prompt"):
            chat.render_prompt(tokenizer, "open a jar", forced_thought=True)
        return
    forced = chat.render_prompt(tokenizer, "open a jar", forced_thought=True)
    opened = served.prompt if served.opens else f"{served.prompt}<think>\n"
    assert forced == tokens_of(tokenizer, opened)
    assert forced.count(tokenizer.convert_tokens_to_ids("<think>")) == 1


def test_a_completion_is_what_the_model_writes_and_keeps_its_thought(case):
    tokenizer, served = case
    ids = chat.render_completion(
        tokenizer, thought="Warm the lid.", response="The answer is 3.", opened=served.opens
    )
    start = "" if served.opens else "<think>\n"
    written = f"{start}Warm the lid.\n</think>\n\nThe answer is 3.{served.end}"
    assert ids == tokens_of(tokenizer, written)
    assert tokenizer.bos_token_id not in ids
    both = chat.render_prompt(tokenizer, "open a jar") + ids
    once = 2 if served is SERVED["never-thinks"] else 1
    assert both.count(tokenizer.convert_tokens_to_ids("<think>")) == once
    part = split(tokenizer, ids, served)
    assert (part.thought, part.answer) == ("Warm the lid.", "The answer is 3.")
    assert part.finished and part.tokens == len(ids)


def test_the_templates_own_assistant_turn_would_lose_the_thought(backend):
    tokenizer = tokenizer_of(backend, SERVED["strips"])
    said = "<think>\nWarm the lid.\n</think>\n\nThe answer is 3."
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": said}]
    rendered = tokenizer.apply_chat_template(turns, tokenize=False)
    assert "Warm" not in rendered
    kept = chat.render_completion(tokenizer, thought="Warm the lid.", response="The answer is 3.")
    assert tokenizer.decode(kept) == f"{said}{EOS}"


def test_an_empty_thought_comes_back_empty(case):
    tokenizer, served = case
    ids = chat.render_completion(tokenizer, thought="", response="3.", opened=served.opens)
    part = split(tokenizer, ids, served)
    assert (part.thought, part.answer) == ("", "3.")


def test_an_answer_without_a_thought_has_none(case):
    tokenizer, served = case
    ids = [*tokens_of(tokenizer, "Warm the lid."), tokenizer.eos_token_id]
    part = split(tokenizer, ids, served)
    assert (part.thought, part.answer, part.finished) == (None, "Warm the lid.", True)


def test_a_thought_that_was_cut_off_is_no_answer(case):
    tokenizer, served = case
    start = "" if served.opens else "<think>\n"
    part = split(tokenizer, tokens_of(tokenizer, f"{start}One and two"), served)
    assert (part.thought, part.answer, part.finished) == ("One and two", "", False)


def test_the_contract_records_what_the_template_puts(backend):
    contracts = {
        name: chat.prompt_contract(tokenizer_of(backend, served)) for name, served in SERVED.items()
    }
    assert {name for name, contract in contracts.items() if contract.opens_thought} == {"forces"}
    assert contracts["forces"].generation_prefix == f"{ASSISTANT}<think>\n"
    assert contracts["writes-bos"].generation_prefix == f"{ASSISTANT}\n\n"
    assert contracts["never-thinks"].generation_prefix == f"{ASSISTANT}<think>\n\n</think>\n\n"
    assert all(contract.bos == BOS for contract in contracts.values())
    assert len({contract.template for contract in contracts.values()}) == len(SERVED)


def test_another_default_system_turn_is_another_contract(backend):
    served = SERVED["system-turn"]
    changed = Served(served.template.replace("helpful", "careful"), served.prompt, end=END)
    one, other = (chat.prompt_contract(tokenizer_of(backend, s)) for s in (served, changed))
    assert one.generation_prefix == other.generation_prefix
    assert one.template != other.template


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("<|begin_of_thought|>\n\n", "\n\n<|end_of_thought|>\n\n"),
        ("## Thinking\n\n", "\n\n## Final Response\n\n"),
    ],
    ids=["openthinker", "huatuogpt-o1"],
)
def test_thoughts_that_are_marked_otherwise_are_read(backend, opening, closing):
    served = SERVED["writes-bos"]
    tokenizer = tokenizer_of(backend, served)
    thought = tokens_of(tokenizer, f"{opening}One and two")
    rest = tokens_of(tokenizer, f"{closing}The answer is 3.")
    whole = split(tokenizer, [*thought, *rest, tokenizer.eos_token_id], served)
    assert (whole.thought, whole.answer) == ("One and two", "The answer is 3.")
    cut = split(tokenizer, thought, served)
    assert (cut.thought, cut.answer, cut.finished) == ("One and two", "", False)
    # Elsewhere than at the beginning it is ordinary text.
    late = [*tokens_of(tokenizer, "Turn it. "), *thought, *rest, tokenizer.eos_token_id]
    assert split(tokenizer, late, served).thought is None
