"""What a model answers, greedily, and which part of it is judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from components.lm.chat import opens_thought, render_prompt, split_completion
from components.lm.generation import end_tokens, generate
from components.records import Completion, Outcome, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Judge = Callable[[str], Outcome]


def judged_text(completion: Completion) -> str:
    """Return the part of a completion that says what it did: the answer.

    A thought that the token limit cut off stands for the answer it did not reach.
    """
    if completion.thought and not completion.answer and not completion.finished:
        return completion.thought
    return completion.answer


def answer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Prompt],
    *,
    max_new_tokens: int,
    batch: int,
    label: str,
    reminder: str | None = None,
) -> list[tuple[list[int], Completion]]:
    """Return the greedy completion of every prompt, as token ids and in its parts."""
    ids = generate(
        model,
        tokenizer,
        [render_prompt(tokenizer, row.text, reminder=reminder) for row in rows],
        max_new_tokens=max_new_tokens,
        batch=batch,
        label=label,
    )
    ends, opened = end_tokens(model, tokenizer), opens_thought(tokenizer)
    return [
        (written, split_completion(tokenizer, row.id, written, ends=ends, opened=opened))
        for row, written in zip(rows, ids, strict=True)
    ]
