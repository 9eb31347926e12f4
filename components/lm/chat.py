"""From a prompt to tokens and from tokens to thought and answer.

Prompts go through the tokenizer's own chat template and nothing else. Completions never do: many
templates drop the thought from an assistant's turn, so a completion is encoded by itself and put
behind the rendered prompt, with the marks around its thought that the model uses.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.core.errors import ModelError
from components.core.storage import digest_bytes
from components.core.vocabulary import Completion
from components.lm.references import PromptContract
from components.lm.templates import encode, marked, render, template_of
from components.lm.thought_formats import THINK
from components.lm.thoughts import Parts, split_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

THOUGHT_OPEN, THOUGHT_CLOSE = THINK.opening, THINK.closing


def render_prompt(
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    *,
    preamble: str | None = None,
    forced_thought: bool = False,
    system: str = "",
) -> list[int]:
    """Return the token ids of one user turn, up to where the assistant begins to write.

    A `preamble` is put before the text within the user turn, a `system` prompt before the turn.
    With `forced_thought` the prompt ends in an open thought even where the template does not open
    one. Raises `ModelError` where the template closes the thought instead, or cannot be used.
    """
    template = template_of(tokenizer)
    turn = text if preamble is None else f"{preamble}\n\n{text}"
    ids = render_turns(tokenizer, [turn], system=system)
    if forced_thought and not template.opens_thought:
        if template.closes_thought:
            raise ModelError(
                "this chat template closes the thought in the prompt, so none can be forced: "
                "leave the forced_thought form out, or give the model its thinking template"
            )
        ids += encode(tokenizer, template.thoughts.begins)
    return ids


def render_turns(
    tokenizer: PreTrainedTokenizerBase,
    turns: Sequence[str],
    *,
    skip_thought: bool = False,
    answer: str = "",
    system: str = "",
) -> list[int]:
    """Return the token ids of a dialogue, up to where the assistant goes on writing.

    `turns` are the user's and the assistant's in turn, the user's first and last; a `system` prompt
    comes before them. With `skip_thought` the prompt holds an empty thought. The assistant's answer
    has begun with `answer`, so a thought that the template opens is closed before it. The tokens
    are those of the whole text, as a server reads it; whether they fit the model's context is the
    caller's to ask. Raises `ModelError` where the template cannot be used, or drops or changes a
    turn or the system prompt.
    """
    template = template_of(tokenizer)
    thoughts = template.thoughts
    marked_turns = [marked(tokenizer, turn) for turn in turns]
    text = render(tokenizer, marked_turns, generation=True, system=marked(tokenizer, system))
    if template.opens_thought:
        text += thoughts.ends if skip_thought or answer else ""
    elif not template.closes_thought and (skip_thought or answer):
        text += thoughts.begins + thoughts.ends if skip_thought else thoughts.alone
    return encode(tokenizer, text + answer)


def render_completion(
    tokenizer: PreTrainedTokenizerBase, *, thought: str | None, response: str, opened: bool = False
) -> list[int]:
    """Return the token ids of a completion and of what ends an assistant's turn in the template.

    `opened`: the prompt has already opened the thought, so the completion does not open it again.
    """
    template = template_of(tokenizer)
    thoughts = template.thoughts
    text = marked(tokenizer, response)
    if thought is not None or opened:
        start = "" if opened else thoughts.begins
        inner = marked(tokenizer, thought or "")
        text = f"{start}{inner}{thoughts.ends}{text}{thoughts.answer[1]}"
    else:
        text = thoughts.alone + text
    end = tokenizer.eos_token_id if template.end is None else template.end
    return [*encode(tokenizer, text), end]


def split_completion(
    tokenizer: PreTrainedTokenizerBase,
    prompt_id: str,
    ids: list[int],
    *,
    ends: frozenset[int],
    opened: bool = False,
) -> Completion:
    """Return the parts of the generated `ids`, which end at the first of the tokens `ends`, as
    `split_text` tells them. `opened`: the prompt has opened a thought."""
    text, parts, end = _split(tokenizer, ids, ends=ends, opened=opened)
    thought = None if parts.thought is None else text[parts.thought.start : parts.thought.stop]
    return Completion(
        prompt_id=prompt_id,
        thought=thought,
        answer=text[parts.answer.start : parts.answer.stop],
        finished=end < len(ids),
        tokens=min(end + 1, len(ids)),
        closed=parts.closed,
    )


def completion_spans(
    tokenizer: PreTrainedTokenizerBase,
    ids: list[int],
    *,
    ends: frozenset[int],
    opened: bool = False,
) -> tuple[range, range]:
    """Return where in the generated `ids` the thought and the answer lie, as `split_completion`
    parts them.

    The marks, the blanks around them and the end token are in neither; a part that is not there is
    an empty range. A token that holds a part's first or last character belongs to it.
    """
    _, parts, end = _split(tokenizer, ids, ends=ends, opened=opened)

    def length(count: int) -> int:
        return len(tokenizer.decode(ids[:count]))

    def span(part: range | None) -> range:
        if not part:
            return range(0)
        counts = range(end + 1)  # tokens, of which the text's length is an ascending function
        first = bisect_right(counts, part.start, key=length) - 1
        return range(first, bisect_left(counts, part.stop, key=length))

    return span(parts.thought), span(parts.answer)


def _split(
    tokenizer: PreTrainedTokenizerBase, ids: list[int], *, ends: frozenset[int], opened: bool
) -> tuple[str, Parts, int]:
    """Return the text before the end token, its parts, and how many tokens it has."""
    end = next((i for i, token in enumerate(ids) if token in ends), len(ids))
    text = str(tokenizer.decode(ids[:end]))
    own = template_of(tokenizer).thoughts if tokenizer.chat_template else THINK
    return text, split_text(text, own, opened=opened, finished=end < len(ids)), end


def opens_thought(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether the template's generation prompt ends within an open thought."""
    return template_of(tokenizer).opens_thought


def prompt_contract(tokenizer: PreTrainedTokenizerBase) -> PromptContract:
    """Return the form in which this tokenizer puts prompts, as stored with every adapter."""
    vocabulary = json.dumps(sorted(tokenizer.get_vocab().items())).encode()
    template = template_of(tokenizer)
    return PromptContract(
        template=digest_bytes(str(tokenizer.chat_template).encode()),
        tokenizer=digest_bytes(vocabulary),
        bos=tokenizer.bos_token,
        generation_prefix=template.prefix,
        opens_thought=template.opens_thought,
    )
