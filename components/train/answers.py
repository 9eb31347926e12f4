"""What models answer to the prompts of a training, and which of it may be taught or held."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from components.core.errors import TrainingError
from components.core.vocabulary import Prompt, Role
from components.lm.attacks import answers_at_once, plain_form, render_form
from components.lm.chat import completion_spans, split_completion
from components.lm.generation import end_tokens, generate
from components.train.rows import Reading, TrainingRow
from components.train.settings import Reads
from components.train.teacher import Reader

log = logging.getLogger(__name__)

Answers = dict[tuple[int, ...], tuple[int, ...]]  # prompt -> completion

GENERATION_BATCH = 64


def own_completions(
    reader: Reader,
    prompts: Mapping[str, tuple[int, ...]],
    *,
    max_new_tokens: int,
    label: str,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[TrainingRow]:
    """Return a row a prompt with what the reader's model writes after it, greedily by default."""
    written = generate(
        reader.model,
        reader.tokenizer,
        list(prompts.values()),
        max_new_tokens=max_new_tokens,
        batch=GENERATION_BATCH,
        label=label,
        temperature=temperature,
        seed=seed,
    )
    return [
        TrainingRow(prompt_id, prompt, tuple(completion))
        for (prompt_id, prompt), completion in zip(prompts.items(), written, strict=True)
    ]


def form_asked(reader: Reader, form: str, reads: Reads) -> str:
    """Return the form in which a model is asked where the student reads `form`."""
    return plain_form(reader.tokenizer, form) if reads == "plain" else form


def asked_prompts(
    reader: Reader,
    forms: Mapping[str, Iterable[str]],
    texts: Mapping[str, Prompt],
    *,
    reads: Reads,
    max_tokens: int,
    seed: int,
) -> Reading:
    """Return prompts, named by their ids and the forms in which the student reads them, as `reader`
    is asked them: in the same form, or bare.

    Problems are always asked in the same form: nobody refuses them, and a thought taught where the
    model has none costs skill.
    """

    def ask(form: str, key: str) -> tuple[int, ...]:
        prompt = texts[key]
        own = form if prompt.role is Role.REASONING else form_asked(reader, form, reads)
        ids, _ = render_form(
            reader.tokenizer, prompt, own, seed=seed, limit=max_tokens, reword=reader.reword
        )
        return tuple(ids)

    return {form: {key: ask(form, key) for key in keys} for form, keys in forms.items()}


def put_to(rows: Sequence[TrainingRow], asked: Reading) -> list[TrainingRow]:
    """Return rows, which come form after form, with the prompts that were asked."""
    prompts = [ids for own in asked.values() for ids in own.values()]
    return [replace(row, prompt=ids) for row, ids in zip(rows, prompts, strict=True)]


@dataclass(frozen=True, slots=True)
class Asking:
    """Whose greedy answers are asked for, to which prompts, and how many tokens of each."""

    reader: Reader
    reads: Reads
    tokens: int
    label: str  # in the log


def answered(
    asking: Asking,
    answers: Answers,
    asked: Mapping[str, tuple[int, ...]],
    read: Mapping[str, tuple[int, ...]],
    form: str,
) -> list[TrainingRow]:
    """Return what a model writes after prompts that the student reads as `read` in one form.

    `answers` are those that are known, and get the new ones. Where the bare prompt is asked for a
    form that answers at once, a thought that the model opens by itself goes to the prompt, since
    none belongs there, and rows that have no answer behind it are left out.
    """
    fresh = {key: ids for key, ids in asked.items() if ids not in answers}
    reader, label = asking.reader, f"{asking.label}, {form}"
    written = own_completions(reader, fresh, max_new_tokens=asking.tokens, label=label)
    answers.update((row.prompt, row.completion) for row in written)
    rows = [TrainingRow(key, ids, answers[ids]) for key, ids in asked.items()]
    if asking.reads == "form" or not answers_at_once(form):
        return rows
    rows = [
        row if asked[row.prompt_id] == read[row.prompt_id] else behind_thought(reader, row)
        for row in rows
    ]
    kept = [row for row in rows if row.completion]
    if left := len(rows) - len(kept):
        log.info("left out %d answers that are thoughts alone, %s", left, label)
    return kept


def behind_thought(reader: Reader, row: TrainingRow) -> TrainingRow:
    """Return the row whose prompt has the thought with which the completion begins, if any."""
    written, ends = list(row.completion), end_tokens(reader.model, reader.tokenizer)
    if split_completion(reader.tokenizer, row.prompt_id, written, ends=ends).thought is None:
        return row
    _, answer = completion_spans(reader.tokenizer, written, ends=ends)
    begin = answer.start if answer else len(written)
    return replace(
        row, prompt=row.prompt + row.completion[:begin], completion=row.completion[begin:]
    )


def own_answers(
    asking: Asking, reading: Reading, asked: Reading, texts: Mapping[str, Prompt]
) -> list[tuple[TrainingRow, TrainingRow]]:
    """Return what the student answers to prompts, each row as it was asked and as it is read.

    Raises `TrainingError` where nothing is left of a role in a form: it would not be held there.
    """
    answers, pairs = Answers(), list[tuple[TrainingRow, TrainingRow]]()
    for form, read in reading.items():
        rows = answered(asking, answers, asked[form], read, form)
        lost = {texts[key].role for key in read} - {texts[row.prompt_id].role for row in rows}
        if lost:
            raise TrainingError(
                f"the post-trained model's answers to the {', '.join(sorted(lost))} prompts are "
                f"thoughts alone within {asking.tokens} tokens, so nothing of them could be held "
                f"in the form {form}; raise train.retain_tokens, set train.retain_reads: form, or "
                "take the form out of train.forms"
            )
        pairs += [(row, replace(row, prompt=read[row.prompt_id])) for row in rows]
    return pairs
