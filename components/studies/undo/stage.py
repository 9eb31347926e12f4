"""Stage `undo`: a fine-tune on harmless rows on top of the restored model, kept step by step.

Fine-tuning can undo safety with no harmful row in it (Qi et al. 2023, arXiv 2310.03693). The
adapter under test is merged into the weights first, and a fresh LoRA on all projections of all
layers is trained on top: so would somebody go about it who was given the restored checkpoint and
knows of no adapter. The LoRA-SFT baseline goes through the same, row by row, to compare with.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import TrainingError
from components.core.paths import tuned_adapter
from components.core.run_record import part
from components.core.storage import digest_folder
from components.core.vocabulary import Arm, Split
from components.lm.adapters import merge_adapter
from components.lm.loading import checkpoint_folder, load_model, load_tokenizer
from components.studies.undo.harmless import harmless_rows, tune_on
from components.studies.undo.result import Tuned, Undo
from components.train.adapters import add_lora, save_lora
from components.train.batches import Side
from components.train.lessons import load_side, save_side
from components.train.processes import made_once, refuse_deepspeed, save_once
from components.train.reactivation import first_and_last
from components.train.result import Adapter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peft import PeftModel

    from components.models.result import Models
    from components.prepare.result import PromptSet
    from components.studies.undo.settings import UndoSettings
    from components.train.rows import Row
    from components.train.settings import TrainSettings


def undo(
    section: UndoSettings,
    settings: TrainSettings,
    prompts: PromptSet,
    models: Models,
    adapter: Adapter,
    *,
    seed: int,
    out: Path,
) -> Undo:
    """Return what was trained, with the adapters of every chosen step saved below `out`.

    What a killed run left in `out` is taken up, and several processes may call it together. Raises
    `TrainingError` for adapters of another model or changed ones, prompts that will not do, and a
    launcher that turns DeepSpeed on.
    """
    refuse_deepspeed()
    _check_adapters(adapter, models)
    scratch, loss = out / ".scratch", {}
    rows = _rows(section, settings, prompts, models, seed=seed, folder=scratch / "rows")
    for arm, merged in ((Arm.RESTORED, adapter.adapter), (Arm.BASELINE, adapter.baseline)):
        with part(arm.value):
            loss[arm] = _tune(section, settings, models, arm, merged, rows, seed=seed, out=out)
    result = Undo(
        base_model=models.post_trained.digest,
        adapters={Arm.RESTORED: adapter.digest, Arm.BASELINE: adapter.baseline_digest},
        data=prompts.digest_of_prompts,
        contract=models.post_trained.contract,
        rows=len(rows),
        loss=loss,
        tuned=tuple(
            Tuned(arm=arm, steps=steps, digest=digest_folder(tuned_adapter(out, arm, steps)))
            for arm in loss
            for steps in section.steps
        ),
    )
    return save_once(result, out, scratch)


def _check_adapters(adapter: Adapter, models: Models) -> None:
    pairs = (
        ("the model of the adapters", adapter.base_model, models.post_trained.digest),
        ("the adapter", adapter.digest, digest_folder(adapter.adapter)),
        ("the baseline", adapter.baseline_digest, digest_folder(adapter.baseline)),
    )
    for what, expected, found in pairs:
        if expected != found:
            raise TrainingError(
                f"{what} has changed: its digest was {expected} and is {found}; run the stage "
                "train again"
            )


def _rows(
    section: UndoSettings,
    settings: TrainSettings,
    prompts: PromptSet,
    models: Models,
    *,
    seed: int,
    folder: Path,
) -> Sequence[Row]:
    """Return the harmless rows, which lie in `folder` afterwards."""
    checkpoint = checkpoint_folder(models, models.post_trained)

    def make(scratch: Path) -> None:
        rows = harmless_rows(
            checkpoint,
            load_tokenizer(checkpoint),
            prompts.rows(split=Split.TRAIN),
            answers=section.answers,
            count=section.prompts,
            max_prompt_tokens=settings.max_prompt_tokens,
            max_new_tokens=settings.retain_tokens,
            seed=seed,
        )
        save_side(Side(rows, [len(row.completion) for row in rows]), scratch)

    return load_side(made_once(folder, make)).rows


def _tune(
    section: UndoSettings,
    settings: TrainSettings,
    models: Models,
    arm: Arm,
    merged: Path,
    rows: Sequence[Row],
    *,
    seed: int,
    out: Path,
) -> tuple[float, float]:
    """Fine-tune one arm and keep its adapters; return the first and the last losses."""
    gc.collect()  # an earlier arm may still be held by its trainer's circle of references
    contract = models.post_trained.contract
    adapted = _with_fresh_lora(settings, models, merged, seed)
    progress = tune_on(
        rows,
        adapted,
        steps=section.steps[-1],
        keep=lambda steps: save_lora(adapted, tuned_adapter(out, arm, steps), contract),
        kept=section.steps,
        batch=settings.batch,
        micro_batch=settings.micro_batch,
        lr=section.lr,
        seed=seed,
        scratch=out / ".scratch" / arm.value,
        checkpoint_every=settings.checkpoint_every,
    )
    return first_and_last(progress.curves, "cross_entropy")


def _with_fresh_lora(settings: TrainSettings, models: Models, merged: Path, seed: int) -> PeftModel:
    # Never in 4 bits, into which no adapter can be merged without a loss.
    model = load_model(checkpoint_folder(models, models.post_trained))
    return add_lora(
        merge_adapter(model, merged),
        layers=range(1, models.post_trained.layers + 1),
        location=models.post_trained.location,
        seed=seed,
        **settings.lora.model_dump(),
    )
