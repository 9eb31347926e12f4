"""Harmless rows to fine-tune on: benign and reasoning prompts with the answers to learn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.core.errors import TrainingError
from components.core.vocabulary import Form, Prompt, Role, Split
from components.lm.chat import opens_thought, render_completion
from components.lm.loading import checkpoint_folder, load_tokenizer
from components.train.answers import own_completions
from components.train.batches import TargetRows
from components.train.rows import TrainingRow, read_prompts, sample_prompts
from components.train.teacher import open_reader

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from components.models.result import Models
    from components.prepare.result import PromptSet
    from components.studies.undo.settings import UndoSettings
    from components.train.settings import TrainSettings

HARMLESS = (Role.BENIGN, Role.REASONING)


def store_harmless_rows(
    section: UndoSettings,
    settings: TrainSettings,
    prompts: PromptSet,
    models: Models,
    seed: int,
    folder: Path,
) -> None:
    """Write at most `undo.prompts` prompts, as served, with the answers to learn into `folder`.

    `own` answers are those of the post-trained model, `reference` ones those of the prompts,
    thoughts included; either has at most `retain_tokens` tokens. Raises `TrainingError` where no
    prompt will do.
    """
    known = prompts.rows(split=Split.TRAIN)
    if section.answers == "reference":
        known = [p for p in known if p.role in HARMLESS and p.response is not None]
        if not known:
            raise TrainingError(
                "no benign or reasoning prompt of the train split has a reference response, which "
                "undo.answers: reference learns; set it to own, or give a source a column "
                "`response`"
            )
    chosen = sample_prompts(known, HARMLESS, section.prompts, np.random.default_rng(seed))
    tokenizer = load_tokenizer(checkpoint_folder(models, models.post_trained))
    limit, tokens = settings.max_prompt_tokens, settings.retain_tokens
    served = (Form.SERVED,)
    ids = read_prompts(tokenizer, chosen, forms=served, max_tokens=limit, seed=seed)[Form.SERVED]
    if section.answers == "own":
        reader = open_reader(models, models.post_trained)
        label = "own answers to harmless prompts"
        rows = own_completions(reader, ids, max_new_tokens=tokens, label=label)
    else:
        rows = [
            TrainingRow(p.id, ids[p.id], tuple(_reference(tokenizer, p)[:tokens]))
            for p in chosen
            if p.id in ids
        ]
    TargetRows(rows, [len(row.completion) for row in rows]).save(folder)


def _reference(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> list[int]:
    opened = opens_thought(tokenizer)
    response = prompt.response or ""
    return render_completion(tokenizer, thought=prompt.thought, response=response, opened=opened)
