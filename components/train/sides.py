"""The two sides of the SafeReAct loss: the teacher's refusals, and what is to stay as it is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import TrainingError
from components.train.batches import Side
from components.train.rows import (
    MIN_REFUSALS,
    Reading,
    Row,
    cut_rows,
    keep_refusals,
    own_completions,
    refuses,
    student_rows,
)
from components.train.targets import states_bytes, store_states

if TYPE_CHECKING:
    from components.core.vocabulary import Prompt
    from components.train.teacher import Reader

log = logging.getLogger(__name__)

# A checked refusal, and what the baseline learns, where the loss itself is on the prompt alone.
PROMPT_ONLY_TOKENS = 24
# Larger references are computed in each step: a disk is then no quicker than the model.
MAX_REFERENCE_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the teacher gives: target states, and its refusals in words for the baseline."""

    side: Side
    refusals: list[Row]
    refused: int  # prompts that it refused, over all forms
    asked: int  # prompts that it was asked, over all forms


def teacher_lesson(
    teacher: Reader,
    prompts: Sequence[Prompt],
    read_by_student: Reading,
    *,
    refusal_tokens: int,
    check_tokens: int,
    prompt_tokens: int,
    layers: Sequence[int],
    patterns: Sequence[str],
    compliance_pattern: str | None,
    waived: bool,
    folder: Path,
) -> Lesson:
    """Return the harmful side: rows as the student reads them, and the teacher's states there.

    The positions are the last `prompt_tokens` of the prompt and those of the teacher's own greedy
    refusal, at most `refusal_tokens` of it; deviation from the paper, which takes the whole prompt
    and no refusal. It is judged by no fewer tokens than in its check (`check_tokens`), since a
    refusal may come behind a long thought. Teacher and student read a prompt in the same forms, so
    an adapter holds in all of them; deviation from the paper, too. `waived`: the teacher may refuse
    nothing.
    """
    rows, seen, refused, asked = [], [], 0, 0
    taught = refusal_tokens or PROMPT_ONLY_TOKENS
    for form, read in read_by_student.items():
        answered = own_completions(
            teacher,
            {p.id: teacher.render(p.text, form) for p in prompts if p.id in read},
            max_new_tokens=max(taught, check_tokens),
            label=f"teacher answers, {form}",
        )
        verdicts = [
            refuses(teacher, row, patterns=patterns, compliance_pattern=compliance_pattern)
            for row in answered
        ]
        whole = keep_refusals(answered, verdicts, form=form, waived=waived)
        kept = cut_rows(whole, taught)
        seen += cut_rows(kept, refusal_tokens)
        rows += student_rows(kept, read, prompt_tokens)
        refused, asked = refused + sum(verdicts), asked + len(answered)
    tails = [row.tail(prompt_tokens) for row in seen]
    log.info("storing the teacher's states of %d refusals at layers %s", len(seen), list(layers))
    targets = store_states(
        teacher.model, [row.inputs for row in seen], tails, layers=layers, folder=folder
    )
    return Lesson(Side(cut_rows(rows, refusal_tokens), tails, targets), rows, refused, asked)


def retained_side(
    student: Reader, read: Reading, *, max_new_tokens: int, depth: int, folder: Path
) -> Side:
    """Return the retained side: the post-trained model's own greedy completions, with thoughts.

    All positions of all forms count, at layers 1 to `depth`. The reference states are stored where
    they take at most `MAX_REFERENCE_BYTES`.
    """
    rows = [
        row
        for form, prompts in read.items()
        for row in own_completions(
            student, prompts, max_new_tokens=max_new_tokens, label=f"own answers, {form}"
        )
    ]
    inputs = [row.inputs for row in rows]
    tails = [len(tokens) for tokens in inputs]
    model = student.model
    size = states_bytes(sum(tails), depth, model.config.hidden_size, model.dtype)
    if size > MAX_REFERENCE_BYTES:
        log.info("the states to retain would take %.1f GiB: computed in each step", size / 2**30)
        return Side(rows, tails, None)
    log.info("storing the states of %d answers to retain", len(rows))
    layers = range(1, depth + 1)
    return Side(rows, tails, store_states(model, inputs, tails, layers=layers, folder=folder))


def compliant_side(
    student: Reader,
    read: Reading,
    *,
    max_new_tokens: int,
    layers: Sequence[int],
    patterns: Sequence[str],
    compliance_pattern: str | None,
    folder: Path,
) -> Side:
    """Return harmful prompts with the post-trained model's own answers that are no refusals.

    The tokens of the answers count; the states there are stored at `layers`. Raises `TrainingError`
    where there are too few such answers.
    """
    rows = [
        row
        for form, prompts in read.items()
        for row in own_completions(
            student, prompts, max_new_tokens=max_new_tokens, label=f"harmful answers, {form}"
        )
        if len(row.completion) > 1
        and not refuses(student, row, patterns=patterns, compliance_pattern=compliance_pattern)
    ]
    if len(rows) < MIN_REFUSALS:
        raise TrainingError(
            f"the post-trained model answers {len(rows)} of the harmful training prompts; "
            f"rerouting needs {MIN_REFUSALS} answers to turn away from"
        )
    tails = [row.tail(0) for row in rows]
    inputs = [row.inputs for row in rows]
    return Side(
        rows, tails, store_states(student.model, inputs, tails, layers=layers, folder=folder)
    )
