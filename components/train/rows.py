"""Rows of training: which prompts, and the completions that the models themselves write.

Completions stay the token ids that were generated; no chat template sees them again, so a thought
is never lost.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from transformers import PreTrainedTokenizerBase

from components.core.errors import TrainingError
from components.core.vocabulary import Form, Outcome, Prompt, Role, Split
from components.judges.rules.outcomes import outcome
from components.judges.settings import RulesSettings
from components.lm.attacks import render_form
from components.lm.chat import opens_thought, split_completion
from components.lm.generation import end_tokens
from components.train.settings import TrainSettings
from components.train.teacher import Reader

log = logging.getLogger(__name__)

# Prompts in token ids, up to where the answer begins: form -> prompt id -> tokens.
Reading = dict[str, dict[str, tuple[int, ...]]]

RETAINED = (Role.BENIGN, Role.BORDERLINE, Role.REASONING)
MIN_REFUSALS = 8  # fewer are an anecdote, not a training set


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One prompt as a model reads it and the completion that follows, in token ids."""

    prompt_id: str
    prompt: tuple[int, ...]
    completion: tuple[int, ...]  # as generated, end token included; empty: the prompt alone

    @property
    def inputs(self) -> tuple[int, ...]:
        """The tokens a model reads: all but the completion's last, which predicts nothing."""
        return (*self.prompt, *self.completion)[:-1] if self.completion else self.prompt

    def counted(self, prompt_tokens: int) -> int:
        """Return how many of the last inputs count when `prompt_tokens` of the prompt do."""
        return prompt_tokens + max(len(self.completion) - 1, 0)


def sample_prompts(
    prompts: Sequence[Prompt],
    roles: Sequence[Role],
    count: int,
    generator: np.random.Generator,
    *,
    split: Split = Split.TRAIN,
) -> list[Prompt]:
    """Return at most `count` prompts, evenly over those of `roles` that have any.

    What a small role cannot give, the others do. Raises `TrainingError` where no role has any,
    naming the `split` that the prompts are of.
    """
    pools = sorted(([p for p in prompts if p.role is role] for role in roles), key=len)
    pools = [pool for pool in pools if pool]
    if not pools:
        raise TrainingError(
            f"the {split} split has no {', '.join(roles)} prompts, which training needs; add a "
            f"source of them to `prepare`, with `split: {split}` or `split: auto`"
        )
    chosen: list[Prompt] = []
    for i, pool in enumerate(pools):
        share = min(len(pool), -(-(count - len(chosen)) // (len(pools) - i)))
        chosen += [pool[k] for k in sorted(generator.permutation(len(pool))[:share])]
    return chosen


def read_prompts(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    *,
    forms: Sequence[str],
    max_tokens: int,
    seed: int,
) -> Reading:
    """Return every prompt in every form as token ids, without those that are too long.

    Where the template itself opens a thought, the form served has the forced thought. Raises
    `TrainingError` where all are too long.
    """
    if opens_thought(tokenizer):
        forms = [form for form in forms if form != Form.FORCED_THOUGHT] or [Form.SERVED]
    reading: Reading = {}
    for form in dict.fromkeys(forms):
        ids = {
            p.id: render_form(tokenizer, p, form, seed=seed, limit=max_tokens)[0] for p in prompts
        }
        reading[form] = {key: tuple(own) for key, own in ids.items() if len(own) <= max_tokens}
        if long := len(ids) - len(reading[form]):
            log.info("left out %d prompts of more than %d tokens, %s", long, max_tokens, form)
        if not reading[form]:
            raise TrainingError(
                f"all {len(ids)} prompts have more than max_prompt_tokens = {max_tokens} in the "
                f"form {form}; raise it, or take the form out of train.forms"
            )
    return reading


def refuses(reader: Reader, row: TrainingRow, rules: RulesSettings) -> bool:
    """Return whether the row's completion refuses, in its thought or in its answer."""
    completion = split_completion(
        reader.tokenizer,
        row.prompt_id,
        list(row.completion),
        ends=end_tokens(reader.model, reader.tokenizer),
        opened=opens_thought(reader.tokenizer),
    )
    return any(
        outcome(part, **rules.model_dump()) is Outcome.REFUSED
        for part in (completion.thought, completion.answer)
        if part is not None
    )


def keep_compliant(
    reader: Reader, rows: Sequence[TrainingRow], rules: RulesSettings
) -> list[TrainingRow]:
    """Return the rows that answer their prompts; raises `TrainingError` where there are too few."""
    kept = [row for row in rows if len(row.completion) > 1 and not refuses(reader, row, rules)]
    if len(kept) < MIN_REFUSALS:
        raise TrainingError(
            f"the post-trained model answers {len(kept)} of the harmful training prompts; "
            f"rerouting needs {MIN_REFUSALS} answers to turn away from"
        )
    return kept


def keep_refusals(
    rows: list[TrainingRow], refused: Sequence[bool], *, asked: int, form: str, waived: bool
) -> list[TrainingRow]:
    """Return the rows whose teacher refused, all of one form, in which `asked` prompts were put.

    A teacher that was let through its check without refusing anything (`waived`) and refuses
    nothing here keeps all rows, with a warning: so an untrained pair can walk the whole chain.
    Raises `TrainingError` where fewer than `MIN_REFUSALS` refusals remain otherwise.
    """
    count = sum(refused)
    log.info("the teacher refuses %d of %d harmful prompts, %s", count, asked, form)
    if count == 0 and waived and len(rows) >= MIN_REFUSALS:
        log.warning("the teacher refuses nothing, as its waived check said; all rows are kept")
        return rows
    if count < MIN_REFUSALS:
        left_out = asked - len(rows)
        thoughts = f"{left_out} answers are thoughts alone: raise probe.check_tokens, "
        raise TrainingError(
            f"the teacher refuses {count} of {asked} harmful training prompts in the form {form}; "
            f"at least {MIN_REFUSALS} refusals are needed: {thoughts if left_out else ''}"
            "add harmful prompts, choose another teacher or take the form out of train.forms"
        )
    return [row for row, refusal in zip(rows, refused, strict=True) if refusal]


def cut_rows(rows: Sequence[TrainingRow], tokens: int) -> list[TrainingRow]:
    """Return the rows with at most `tokens` of their completions."""
    return [replace(row, completion=row.completion[:tokens]) for row in rows]


@dataclass(frozen=True, slots=True)
class Refusals:
    """A teacher's refusals, form after form, as the teacher and as the student read them."""

    by_teacher: list[TrainingRow] = field(default_factory=list)
    by_student: list[TrainingRow] = field(default_factory=list)
    counted: list[int] = field(default_factory=list)  # last inputs that are compared, of each
    by_form: list[int] = field(default_factory=list)  # rows of each form

    def add(
        self,
        rows: Sequence[TrainingRow],
        prompts: Mapping[str, tuple[int, ...]],
        settings: TrainSettings,
        *,
        same_form: bool,
    ) -> None:
        """Add the refusals of one form, whose prompts the student reads as `prompts`.

        Positions correspond from the right, as far as the two prompts end alike, at most
        `prompt_tokens`. Raises `TrainingError` where it is less although both read the `same_form`.
        """
        most = settings.prompt_tokens
        for compared in cut_rows(rows, settings.refusal_tokens):
            prompt = prompts[compared.prompt_id]
            same = shared_end(prompt, compared.prompt, most)
            if same_form and same < most:
                ends = prompt[-most:], compared.prompt[-most:]
                raise TrainingError(
                    f"prompt {compared.prompt_id}: its last {most} tokens are {list(ends[0])} for "
                    f"the student and {list(ends[1])} for the teacher; positions do not "
                    "correspond: lower prompt_tokens, or give both checkpoints one chat template"
                )
            self.by_teacher.append(compared)
            self.counted.append(compared.counted(same))
        taught = cut_rows(rows, settings.taught_tokens)
        self.by_student.extend(replace(row, prompt=prompts[row.prompt_id]) for row in taught)
        self.by_form.append(len(rows))


def shared_end(one: Sequence[int], other: Sequence[int], most: int) -> int:
    """Return how many of the last tokens of two prompts are the same, at most `most`."""
    count = 0
    while count < min(most, len(one), len(other)) and one[-1 - count] == other[-1 - count]:
        count += 1
    return count
