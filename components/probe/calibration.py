"""The exchanges on which weights are scored: reasoning in the model's own words, and refusals."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.core.vocabulary import Outcome, Prompt
from components.lm.chat import opens_thought, render_completion, render_prompt
from components.probe.answers import Judge, answer
from components.probe.wanda import Exchange

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

PLAIN_REFUSAL = "I'm sorry, but I can't help with that."


def own_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Prompt],
    *,
    max_new_tokens: int,
    batch: int,
) -> list[Exchange]:
    """Return every prompt with the model's own greedy completion."""
    answers = answer(
        model,
        tokenizer,
        rows,
        max_new_tokens=max_new_tokens,
        batch=batch,
        label="calibration answers",
    )
    return [Exchange(one.prompt, one.written) for one in answers]


def own_refusals(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Prompt],
    *,
    judge: Judge,
    max_new_tokens: int,
    batch: int,
) -> list[list[int] | None]:
    """Return the token ids of the model's refusal of every prompt, None where it did not refuse."""
    answers = answer(
        model,
        tokenizer,
        rows,
        max_new_tokens=max_new_tokens,
        batch=batch,
        label="calibration refusals",
    )
    return [one.written if judge(one.judged) is Outcome.REFUSED else None for one in answers]


def refusals(
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Prompt],
    own: Sequence[list[int] | None],
    *,
    judge: Judge,
) -> tuple[list[Exchange], dict[str, int]]:
    """Return every harmful prompt with a refusal, and how many refusals are of which origin.

    The base model's own refusal where there is one, else the reference response where that is a
    refusal (some sources hold the answer an attacker wants), else a plain sentence.
    """
    exchanges, origins = [], Counter({"base": 0, "reference": 0, "plain": 0})
    opened = opens_thought(tokenizer)
    for row, written in zip(rows, own, strict=True):
        origin = "base"
        if written is None:
            origin, text = "plain", PLAIN_REFUSAL
            if row.response is not None and judge(row.response) is Outcome.REFUSED:
                origin, text = "reference", row.response
            written = render_completion(tokenizer, thought=None, response=text, opened=opened)
        origins[origin] += 1
        exchanges.append(Exchange(render_prompt(tokenizer, row.text), written))
    log.info("refusals by origin: %s", ", ".join(f"{k} {n}" for k, n in origins.items()))
    return exchanges, dict(origins)
