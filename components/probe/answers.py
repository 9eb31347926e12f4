"""What a model answers, greedily, which part of it is judged, and how often it did what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.core.errors import DataError
from components.core.result import RateFigure
from components.core.vocabulary import Completion, Outcome, Prompt, Role
from components.lm.chat import opens_thought, render_prompt, split_completion
from components.lm.generation import end_tokens, generate

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Judge = Callable[[str], Outcome]

CONFIDENCE = 0.95  # of every interval in the diagnosis


@dataclass(frozen=True, slots=True)
class Answer:
    """A prompt and what a model wrote after it, as token ids and in its parts."""

    row: Prompt
    prompt: list[int]
    written: list[int]
    completion: Completion

    @property
    def judged(self) -> str:
        """The part that says what the model did: the answer.

        A thought that the token limit cut off stands for the answer it did not reach.
        """
        done = self.completion
        return done.thought if done.thought and not (done.answer or done.finished) else done.answer


Answers = Mapping[Role, Sequence[Answer]]


def answer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Prompt],
    *,
    max_new_tokens: int,
    batch: int,
    label: str,
    reminder: str | None = None,
) -> list[Answer]:
    """Return the greedy completion of every prompt, in the rows' order."""
    prompts = [render_prompt(tokenizer, row.text, reminder=reminder) for row in rows]
    completions = generate(
        model, tokenizer, prompts, max_new_tokens=max_new_tokens, batch=batch, label=label
    )
    ends, opened = end_tokens(model, tokenizer), opens_thought(tokenizer)
    return [
        Answer(
            row,
            ids,
            written,
            split_completion(tokenizer, row.id, written, ends=ends, opened=opened),
        )
        for row, ids, written in zip(rows, prompts, completions, strict=True)
    ]


def outcomes(answers: Answers, judge: Judge) -> dict[Role, list[Outcome]]:
    """Return what every answer did with its prompt, by role."""
    return {role: [judge(one.judged) for one in own] for role, own in answers.items()}


def rate(count: int, n: int) -> RateFigure:
    """Return `count / n` with its Wilson score interval; raises `DataError` for zero samples."""
    if n < 1:
        raise DataError("a rate of zero prompts is none; give the stage `probe` some to answer")
    return RateFigure.of(count, n, CONFIDENCE)
