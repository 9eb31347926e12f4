"""How a tokenizer's chat template writes turns: rendered within bounds, checked before use.

Nothing else renders a template. What a user or a source of data wrote can open no turn: the
tokens that steer a model are plain text in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from components.core.errors import ModelError
from components.core.untrusted_text import clip, for_terminal
from components.lm.template_process import PROCESS, ask_once
from components.lm.thought_formats import FORMATS, THINK, ThoughtFormat, is_pair

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

USER, ASSISTANT = "user", "assistant"
# What is put through a template to see what becomes of it: lines, marks of other languages, quotes.
QUESTION = 'What is in "jar 2" & <box>?\n\n  Tell  me: é 漢 {{ x }} {% y %} \\n.'
ANSWER = "It is empty."
MARKS_KEY = "thought_marks"  # in tokenizer_config.json: those of a model that no format fits


@dataclass(frozen=True, slots=True)
class Turns:
    """What a template puts around turns, with the tokenizer that reads it."""

    prefix: str  # what it puts after the user's turn for the assistant to go on from
    thoughts: ThoughtFormat
    opens_thought: bool  # the prefix ends within an open thought
    closes_thought: bool  # the prefix holds a thought that is closed
    end: int  # the token that ends an assistant's turn
    control: re.Pattern[str]  # the tokens that steer a model, in text


def template_place(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the file that holds the tokenizer's chat template, as it is named to people."""
    folder = Path(tokenizer.name_or_path or ".")
    file = folder / "chat_template.jinja"
    return str(file if file.is_file() else folder / "tokenizer_config.json")


def render(
    tokenizer: PreTrainedTokenizerBase,
    turns: Sequence[str],
    *,
    generation: bool,
    cached: bool = False,
) -> str:
    """Return a dialogue as text, the user's turns and the assistant's alternating from the user's.

    With `generation` it ends where the assistant goes on. Raises `ModelError` where the template
    cannot be parsed, fails, does not end, or does not hold every turn as it was given, but for
    blanks around it.
    """
    roles = [ASSISTANT if i % 2 else USER for i in range(len(turns))]
    special = tokenizer.special_tokens_map.items()
    text = _ask(
        tokenizer,
        {
            "messages": [{"role": r, "content": t} for r, t in zip(roles, turns, strict=True)],
            "add_generation_prompt": generation,
            "tokens": {name: str(token) for name, token in special if not isinstance(token, list)},
        },
        cached=cached,
    )
    place = 0
    for role, turn in zip(roles, turns, strict=True):
        found = text.find(turn.strip(), place)
        if found < 0:
            raise _unusable(tokenizer, f"it does not hold the {role}'s turn as it was given")
        place = found + len(turn.strip())
    return text


def literals_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return what the tokenizer's template can write of its own."""
    return _ask(tokenizer, {"literals": True}, cached=True)


def _ask(tokenizer: PreTrainedTokenizerBase, request: dict[str, Any], *, cached: bool) -> str:
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
    request = {"template": str(template), **request}
    try:
        return ask_once(json.dumps(request)) if cached else PROCESS.ask(request)
    except ValueError as error:
        raise _unusable(tokenizer, str(error)) from error


def _unusable(tokenizer: PreTrainedTokenizerBase, why: str) -> ModelError:
    return ModelError(
        f"the chat template in {template_place(tokenizer)} cannot be used: "
        f"{for_terminal(clip(why, 300))}; put the one that the model was trained with in its place"
    )


def marked(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """Return `text` with the tokens that steer a model marked, for `encode` to spell them."""
    from transformers.utils.chat_template_utils import mark_control_tokens

    return str(mark_control_tokens(text, turns_of(tokenizer).control))


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


_KNOWN: WeakKeyDictionary[Any, tuple[object, Turns]] = WeakKeyDictionary()


def turns_of(tokenizer: PreTrainedTokenizerBase) -> Turns:
    """Return what the tokenizer's template puts around turns; raises `ModelError` as `render`."""
    key = (repr(tokenizer.chat_template), tokenizer.eos_token_id, len(tokenizer))
    if tokenizer not in _KNOWN or _KNOWN[tokenizer][0] != key:
        _KNOWN[tokenizer] = (key, _read_turns(tokenizer))
    return _KNOWN[tokenizer][1]


def thoughts_of(tokenizer: PreTrainedTokenizerBase) -> ThoughtFormat:
    """Return the format of the model's own thoughts; `THINK` where there is no template."""
    return turns_of(tokenizer).thoughts if tokenizer.chat_template else THINK


def _read_turns(tokenizer: PreTrainedTokenizerBase) -> Turns:
    closed, begun = (
        render(tokenizer, [QUESTION], generation=generation, cached=True)
        for generation in (False, True)
    )
    if begun.startswith(closed):
        prefix = begun[len(closed) :]
    else:  # a template that ends a dialogue otherwise than a turn
        prefix = begun[begun.rindex(QUESTION) + len(QUESTION) :]
    thoughts, end = _format_of(tokenizer, prefix), end_of_turn(tokenizer)
    return Turns(
        prefix=prefix,
        thoughts=thoughts,
        opens_thought=prefix.rstrip().endswith(thoughts.opening),
        closes_thought=thoughts.closing in prefix,
        end=tokenizer.eos_token_id if end is None else end,
        control=_control(tokenizer, thoughts),
    )


def _control(tokenizer: PreTrainedTokenizerBase, thoughts: ThoughtFormat) -> re.Pattern[str]:
    """Return what finds the tokens that steer a model: special ones, those of the template and
    those around a thought. Other added tokens, such as Gemma's of HTML, are text."""
    written = literals_of(tokenizer) + thoughts.begins + thoughts.ends
    steering = [
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        if token.content.strip() and (token.special or token.content in written)
    ]
    longest_first = sorted(steering, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")


def _format_of(tokenizer: PreTrainedTokenizerBase, prefix: str) -> ThoughtFormat:
    """Return the format of the model's thoughts: the one that its tokenizer names, else one in
    which a prompt ends, else one in its template, else one in its vocabulary, else `THINK`."""
    named = tokenizer.init_kwargs.get(MARKS_KEY)
    if named is not None:
        if not is_pair(named):
            raise ModelError(
                f"{MARKS_KEY} in {Path(tokenizer.name_or_path) / 'tokenizer_config.json'} is "
                f"{named!r:.80}; it is a list of the marks before and behind a thought"
            )
        return ThoughtFormat(*named)
    begun = [form for form in FORMATS if prefix.rstrip().endswith(form.opening)]
    added = tokenizer.get_added_vocab()
    known = [
        form
        for place in (literals_of(tokenizer), added)
        for form in FORMATS
        if (form.sign or form.opening) in place
    ]
    return next(iter([*begun, *known, THINK]))


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the token that the template puts behind an assistant's turn; None where it puts none,
    or does not write such a turn."""
    tail = turn_tail(tokenizer)
    ids = tokenizer.encode(tail, add_special_tokens=False) if tail else []
    known = {*tokenizer.get_added_vocab().values(), tokenizer.eos_token_id}
    return int(ids[0]) if ids and ids[0] in known else None


def turn_tail(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return what the template puts behind an assistant's last turn, without blanks around it."""
    try:
        text = render(tokenizer, [QUESTION, ANSWER], generation=False, cached=True)
    except ModelError:
        return ""
    return text[text.rindex(ANSWER) + len(ANSWER) :].strip()
