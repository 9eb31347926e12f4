"""From a prompt to tokens and from tokens to thought and answer.

Prompts go through the tokenizer's own chat template and nothing else. Completions never do: many
templates drop the thought from an assistant's turn, so a completion is encoded by itself and put
behind the rendered prompt. This is the only file that knows how a thought is marked.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from components.records import Completion
from components.results import PromptContract
from components.storage import digest_bytes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

THOUGHT_OPEN = "<think>"
THOUGHT_CLOSE = "</think>"


def render_prompt(
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    *,
    reminder: str | None = None,
    force_thought: bool = False,
) -> list[int]:
    """Return the token ids of one user turn, up to where the assistant begins to write.

    A `reminder` is put before the text within the user turn. With `force_thought` the prompt ends
    in an open thought even where the template does not open one.
    """
    turn = text if reminder is None else f"{reminder}\n\n{text}"
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": turn}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=False,
    )
    if force_thought and not opens_thought(tokenizer):
        ids = ids + tokenizer.encode(f"{THOUGHT_OPEN}\n", add_special_tokens=False)
    return list(ids)


def render_completion(
    tokenizer: PreTrainedTokenizerBase, *, thought: str | None, response: str, opened: bool = False
) -> list[int]:
    """Return the token ids of a completion, its end token included.

    `opened`: the prompt has already opened the thought, so the completion does not open it again.
    """
    text = response
    if thought is not None or opened:
        start = "" if opened else f"{THOUGHT_OPEN}\n"
        text = f"{start}{thought or ''}\n{THOUGHT_CLOSE}\n\n{response}"
    return [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]


def split_completion(
    tokenizer: PreTrainedTokenizerBase,
    prompt_id: str,
    ids: list[int],
    *,
    ends: frozenset[int],
    opened: bool = False,
) -> Completion:
    """Return the parts of the generated `ids`, which end at the first of the tokens `ends`.

    A thought that the limit cut off has no answer. One that the prompt opened and the model never
    closed before it ended its turn is no thought: all that it wrote is its answer. A close without
    an open counts as a thought that the prompt opened.
    """
    end = next((i for i, token in enumerate(ids) if token in ends), len(ids))
    finished = end < len(ids)
    text = str(tokenizer.decode(ids[:end], skip_special_tokens=False))
    before, closed, after = text.partition(THOUGHT_CLOSE)
    head, opens, inner = before.partition(THOUGHT_OPEN)
    own = bool(opens) and not head.strip()
    if own:
        before = inner
    if closed:
        thought, answer = before.strip(), after.strip()
    elif own or (opened and not finished):
        thought, answer = before.strip(), ""
    else:
        thought, answer = None, text.strip()
    return Completion(
        prompt_id=prompt_id,
        thought=thought,
        answer=answer,
        finished=finished,
        tokens=min(end + 1, len(ids)),
    )


def opens_thought(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether the template's generation prompt ends within an open thought."""
    return _generation_prefix(tokenizer).rstrip().endswith(THOUGHT_OPEN)


def prompt_contract(tokenizer: PreTrainedTokenizerBase) -> PromptContract:
    """Return the form in which this tokenizer puts prompts, as stored with every adapter."""
    vocabulary = json.dumps(sorted(tokenizer.get_vocab().items())).encode()
    return PromptContract(
        template=digest_bytes(str(tokenizer.chat_template).encode()),
        tokenizer=digest_bytes(vocabulary),
        bos=tokenizer.bos_token,
        generation_prefix=_generation_prefix(tokenizer),
        opens_thought=opens_thought(tokenizer),
    )


def _generation_prefix(tokenizer: PreTrainedTokenizerBase) -> str:
    turn = [{"role": "user", "content": "x"}]
    closed, opened = (
        str(tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=prompt))
        for prompt in (False, True)
    )
    return opened[len(closed) :] if opened.startswith(closed) else opened
