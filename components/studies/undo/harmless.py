"""An ordinary fine-tune on harmless rows, whose adapter is kept after chosen steps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from transformers import TrainerCallback

from components.core.errors import TrainingError
from components.core.vocabulary import Form, Prompt, Role
from components.lm.chat import opens_thought, render_completion
from components.lm.loading import load_model
from components.train.baseline import RefusalTrainer
from components.train.batches import CompletionCollator, Side, draw_order, plan_steps
from components.train.rows import Row, own_completions, read_prompts, sample_prompts
from components.train.teacher import Reader

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import (
        PreTrainedTokenizerBase,
        TrainerControl,
        TrainerState,
        TrainingArguments,
    )

    from components.train.checkpoints import Progress

HARMLESS = (Role.BENIGN, Role.REASONING)


def harmless_rows(
    checkpoint: Path,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    *,
    answers: Literal["own", "reference"],
    count: int,
    max_prompt_tokens: int,
    max_new_tokens: int,
    seed: int,
) -> list[Row]:
    """Return at most `count` benign and reasoning prompts, as served, with the answers to learn.

    `own` are those of the model in `checkpoint`, `reference` those of the prompts, thoughts
    included; either has at most `max_new_tokens` tokens. Raises `TrainingError` where no prompt
    will do.
    """
    if answers == "reference":
        prompts = _with_references(prompts)
    chosen = sample_prompts(prompts, HARMLESS, count, np.random.default_rng(seed))
    read = read_prompts(tokenizer, chosen, forms=(Form.SERVED,), max_tokens=max_prompt_tokens)
    ids = read[Form.SERVED]
    if answers == "own":
        reader = Reader(load_model(checkpoint), tokenizer)
        label = "own answers to harmless prompts"
        return own_completions(reader, ids, max_new_tokens=max_new_tokens, label=label)
    opened = opens_thought(tokenizer)
    rows = []
    for prompt in chosen:
        if prompt.id in ids:
            written = render_completion(
                tokenizer, thought=prompt.thought, response=prompt.response or "", opened=opened
            )
            rows.append(Row(prompt.id, ids[prompt.id], tuple(written[:max_new_tokens])))
    return rows


def _with_references(prompts: Sequence[Prompt]) -> list[Prompt]:
    found = [p for p in prompts if p.role in HARMLESS and p.response is not None]
    if not found:
        raise TrainingError(
            "no benign or reasoning prompt of the train split has a reference response, which "
            "undo.answers: reference learns; set it to own, or give a source a column `response`"
        )
    return found


def tune_on(
    rows: Sequence[Row],
    adapted: PeftModel,
    *,
    steps: int,
    keep: Callable[[int], object],
    kept: Collection[int],
    batch: int,
    seed: int,
    **settings: Any,
) -> Progress:
    """Train the adapter in place on the rows' completions; return every step's loss.

    `keep` is called with the number of steps taken when it is among `kept`. `settings` are those of
    `AdapterTrainer`.
    """
    generator = np.random.default_rng(seed)
    order = draw_order(len(rows), steps=steps, batch=batch, generator=generator)
    written = Side(rows, [len(row.completion) for row in rows])
    trainer = HarmlessTrainer(
        adapted,
        plan_steps([[(i,) for i in step] for step in order], (written,)),
        CompletionCollator(rows),
        seed=seed,
        **settings,
    )
    # It comes before the checkpoints: what a resumed training does not take again is kept.
    trainer.add_callback(Keeping(trainer.progress, keep, kept))
    return trainer.finish()


class HarmlessTrainer(RefusalTrainer):
    """The same loss, on answers in which nothing is refused."""

    label = "fine-tuning on harmless rows"


class Keeping(TrainerCallback):
    """Calls `keep` with the number of steps taken when it is among `kept`."""

    def __init__(
        self, progress: Progress, keep: Callable[[int], object], kept: Collection[int]
    ) -> None:
        self.progress, self.keep, self.kept = progress, keep, kept

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002 - the form that Trainer calls
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,  # noqa: ARG002
        **given: Any,  # noqa: ARG002
    ) -> None:
        """Keep the adapter where its step is one of those."""
        if self.progress.taken in self.kept:
            self.keep(self.progress.taken)
