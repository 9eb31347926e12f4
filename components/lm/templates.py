"""How a tokenizer's chat template writes turns: rendered within bounds, read once.

Nothing else renders a template. What a user or a source of data wrote can open no turn: the
tokens that steer a model are plain text in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from components.core.errors import ModelError
from components.core.untrusted_text import clip, for_terminal
from components.lm.template_process import PROCESS
from components.lm.thought_formats import FORMATS, THINK, ThoughtFormat

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What is put through a template to see what becomes of it: lines, marks of other languages, quotes.
QUESTION = 'What is in "jar 2" & <box>?\n\n  Tell  me: é 漢 {{ x }} {% y %} \\n.'
ANSWER = "It is empty."
MARKS_KEY = "thought_marks"  # in tokenizer_config.json: those of a model that no format fits


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """What a template puts around turns, with the tokenizer that reads it."""

    prompt: str  # a question, up to where the assistant goes on from
    dialogue: str  # a question and its answer; empty where it does not write such a turn
    literals: str  # what it can write of its own
    prefix: str  # what it puts behind the user's turn for the assistant to go on from
    thoughts: ThoughtFormat
    end: int | None  # the token that it puts behind an assistant's turn
    control: re.Pattern[str]  # the tokens that steer a model, in text

    @property
    def opens_thought(self) -> bool:
        """Whether a prompt ends within an open thought."""
        return self.prefix.rstrip().endswith(self.thoughts.opening)

    @property
    def closes_thought(self) -> bool:
        """Whether a prompt ends behind a closed thought."""
        return self.thoughts.closing in self.prefix


def template_file(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the file that holds the tokenizer's chat template, as it is named to people."""
    folder = Path(tokenizer.name_or_path or ".")
    file = folder / "chat_template.jinja"
    return str(file if file.is_file() else folder / "tokenizer_config.json")


def render(
    tokenizer: PreTrainedTokenizerBase,
    turns: Sequence[str],
    *,
    generation: bool,
    system: str = "",
) -> str:
    """Return a dialogue as text, the user's turns and the assistant's alternating from the user's.

    With `generation` it ends where the assistant goes on. A system prompt, where one is given,
    stands where the template puts it. Raises `ModelError` where the template cannot be parsed,
    fails, does not end, or does not hold every turn as it was given, but for blanks around it.
    """
    roles = ["assistant" if i % 2 else "user" for i in range(len(turns))]
    special = tokenizer.special_tokens_map.items()
    messages = [{"role": "system", "content": system}] if system else []
    text = _ask(
        tokenizer,
        messages=messages + [{"role": r, "content": t} for r, t in zip(roles, turns, strict=True)],
        add_generation_prompt=generation,
        tokens={name: str(token) for name, token in special if not isinstance(token, list)},
    )
    if system.strip() not in text:
        raise _unusable(tokenizer, "it drops the system prompt, or changes it")
    # Some templates put it before the last turn of the user, which may hold its words, too.
    dialogue, place = text.replace(system.strip(), "", 1) if system else text, 0
    for role, turn in zip(roles, turns, strict=True):
        found = dialogue.find(turn.strip(), place)
        if found < 0:
            raise _unusable(tokenizer, f"it does not hold the {role}'s turn as it was given")
        place = found + len(turn.strip())
    return text


def _ask(tokenizer: PreTrainedTokenizerBase, **request: Any) -> str:
    """Return what the process of templates replies about the tokenizer's own."""
    template: Any = tokenizer.chat_template
    named = sorted(template) if isinstance(template, dict) else []
    if named:
        template = template.get("default")
    if not template:
        others = f" called default, but {', '.join(named)}" if named else ""
        raise ModelError(
            f"the tokenizer in {tokenizer.name_or_path} has no chat template{others}; put the one "
            "that the model was trained with there as chat_template.jinja"
        )
    try:
        return PROCESS.ask({"template": str(template), **request})
    except ValueError as error:
        raise _unusable(tokenizer, str(error)) from error


def _unusable(tokenizer: PreTrainedTokenizerBase, why: str) -> ModelError:
    return ModelError(
        f"the chat template in {template_file(tokenizer)} cannot be used: "
        f"{for_terminal(clip(why, 300))}; put the one that the model was trained with in its place"
    )


def marked(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """Return `text` with the tokens that steer a model marked, for `encode` to spell them."""
    from transformers.utils.chat_template_utils import mark_control_tokens

    return str(mark_control_tokens(text, template_of(tokenizer).control))


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return the token ids of `text`, nothing added, in which what is `marked` is plain text.

    Raises `ModelError` where the tokenizer knows no other way to write a marked token.
    """
    from transformers.utils.chat_template_utils import encode_marked_chat

    try:
        return list(encode_marked_chat(tokenizer, text))
    except ValueError as error:
        raise ModelError(
            f"a text cannot be put to the tokenizer in {tokenizer.name_or_path}: {error}; leave "
            "the row that holds it out"
        ) from error


_KNOWN: WeakKeyDictionary[Any, tuple[object, ChatTemplate]] = WeakKeyDictionary()


def template_of(tokenizer: PreTrainedTokenizerBase) -> ChatTemplate:
    """Return what the tokenizer's template puts around turns; raises `ModelError` as `render`."""
    key = (repr(tokenizer.chat_template), tokenizer.eos_token_id, len(tokenizer))
    if tokenizer not in _KNOWN or _KNOWN[tokenizer][0] != key:
        _KNOWN[tokenizer] = (key, _read(tokenizer))
    return _KNOWN[tokenizer][1]


def _read(tokenizer: PreTrainedTokenizerBase) -> ChatTemplate:
    question, prompt = (
        render(tokenizer, [QUESTION], generation=generation) for generation in (False, True)
    )
    prefix = prompt.removeprefix(question)
    if prefix == prompt:  # a template that ends a dialogue otherwise than a turn
        prefix = behind(prompt, QUESTION)
    try:
        dialogue = render(tokenizer, [QUESTION, ANSWER], generation=False)
    except ModelError:
        dialogue = ""
    literals = _ask(tokenizer, literals=True)
    thoughts = _format_of(tokenizer, prefix, literals)
    # Special tokens, those of the template and those around a thought steer a model. Other added
    # ones, such as Gemma's of HTML, are text.
    written = literals + thoughts.begins + thoughts.ends
    steering = [
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        if token.content.strip() and (token.special or token.content in written)
    ]
    longest_first = map(re.escape, sorted(steering, key=len, reverse=True))
    tail = tokenizer.encode(behind(dialogue, ANSWER).strip(), add_special_tokens=False)
    ends = {*tokenizer.get_added_vocab().values(), tokenizer.eos_token_id}
    return ChatTemplate(
        prompt=prompt,
        dialogue=dialogue,
        literals=literals,
        prefix=prefix,
        thoughts=thoughts,
        end=int(tail[0]) if tail and tail[0] in ends else None,
        control=re.compile("|".join(longest_first) or "(?!)"),
    )


def behind(text: str, part: str) -> str:
    """Return what stands in `text` behind the last occurrence of `part`; empty for none."""
    return text[text.rindex(part) + len(part) :] if part in text else ""


def _format_of(tokenizer: PreTrainedTokenizerBase, prefix: str, literals: str) -> ThoughtFormat:
    """Return the format of the model's thoughts: the one that its tokenizer names, else one in
    which a prompt ends, else one in its template, else one in its vocabulary, else `THINK`."""
    match tokenizer.init_kwargs.get(MARKS_KEY):
        case None:
            begun = [form for form in FORMATS if prefix.rstrip().endswith(form.opening)]
            added = tokenizer.get_added_vocab()
            for place in (literals, added):
                begun += [form for form in FORMATS if (form.sign or form.opening) in place]
            return next(iter(begun), THINK)
        case [str(opening), str(closing)] if opening.strip() and closing.strip():
            if opening != closing:
                return ThoughtFormat(opening, closing)
    raise ModelError(
        f"{MARKS_KEY} in {Path(tokenizer.name_or_path) / 'tokenizer_config.json'} is "
        f"{tokenizer.init_kwargs[MARKS_KEY]!r:.80}; it is a list of the marks before and behind a "
        "thought"
    )
