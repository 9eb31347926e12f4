"""The word-level tokenizer of the tiny pair, as any Hugging Face checkpoint carries one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.lm.chat import THOUGHT_CLOSE, THOUGHT_OPEN
from components.models.world import words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN, END = "<|pad|>", "<|unknown|>", "<|end|>"
SYSTEM, USER, ASSISTANT = "<|system|>", "<|user|>", "<|assistant|>"

# One turn is its role, its content and the end; an assistant's content keeps its thought.
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] not in ('system', 'user', 'assistant') %}"
    "{{ raise_exception('unknown role: ' + message['role']) }}{% endif %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer: one token a word, number or mark; lower case; always the same.

    Padding is on the left, for generation. The think marks are ordinary added tokens, so that
    decoding without special tokens keeps them.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = [PAD, UNKNOWN, END, SYSTEM, USER, ASSISTANT, THOUGHT_OPEN, THOUGHT_CLOSE, *words()]
    core = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token=UNKNOWN))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    core.add_tokens(
        [
            AddedToken(mark, special=False, normalized=False)
            for mark in (THOUGHT_OPEN, THOUGHT_CLOSE)
        ]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        padding_side="left",
        model_max_length=256,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer
