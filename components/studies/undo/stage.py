"""Stage `undo`: a fine-tune on harmless rows on top of the restored model, kept step by step.

Fine-tuning can undo safety with no harmful row in it (Qi et al. 2023, arXiv 2310.03693). The
adapter under test is merged into the weights first, and a fresh LoRA on all projections of all
layers is trained on top: so would somebody go about it who was given the restored checkpoint and
knows of no adapter. The LoRA-SFT baseline goes through the same, row by row, to compare with.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import TrainingError
from components.core.paths import tuned_adapter
from components.core.run_record import part
from components.core.storage import digest_folder
from components.core.vocabulary import Arm
from components.lm.adapters import merge_adapter
from components.lm.loading import checkpoint_folder, free_memory, load_model
from components.studies.undo.harmless import store_harmless_rows
from components.studies.undo.result import Tuned, Undo
from components.train.adapters import add_lora, base_name, save_lora
from components.train.batches import TargetRows, mixed
from components.train.processes import made_once, refuse_launcher_settings, save_once
from components.train.result import Adapter
from components.train.student import completion_loss
from components.train.trainer import AdapterTrainer

if TYPE_CHECKING:
    from components.models.result import Models
    from components.prepare.result import PromptSet
    from components.studies.undo.settings import UndoSettings
    from components.train.checkpoints import Progress
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
    refuse_launcher_settings()
    _check_adapters(adapter, models)
    scratch = out / ".scratch"
    make = partial(store_harmless_rows, section, settings, prompts, models, seed)
    rows, loss = TargetRows.load(made_once(scratch / "rows", make)), {}
    for arm, merged in ((Arm.RESTORED, adapter.adapter), (Arm.BASELINE, adapter.baseline)):
        with part(arm.value):
            progress = _tune(section, settings, models, arm, merged, rows, seed=seed, out=out)
        loss[arm] = progress.first_and_last("cross_entropy")
    result = Undo(
        base_model=models.post_trained.digest,
        adapters={Arm.RESTORED: adapter.digest, Arm.BASELINE: adapter.baseline_digest},
        data=prompts.digest_of_prompts,
        contract=models.post_trained.contract,
        rows=len(rows.rows),
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


def _tune(
    section: UndoSettings,
    settings: TrainSettings,
    models: Models,
    arm: Arm,
    merged: Path,
    rows: TargetRows,
    *,
    seed: int,
    out: Path,
) -> Progress:
    """Fine-tune one arm and save its adapter after the chosen steps."""
    free_memory()  # an earlier arm may still be held by its trainer's circle of references
    student = models.post_trained
    # Never in 4 bits, into which no adapter can be merged without a loss.
    adapted = add_lora(
        merge_adapter(load_model(checkpoint_folder(models, student)), merged),
        settings.lora,
        layers=range(1, student.layers + 1),
        base=base_name(models),
        seed=seed,
    )

    def save_chosen(progress: Progress) -> None:
        if progress.taken in section.steps:
            save_lora(adapted, tuned_adapter(out, arm, progress.taken), student.contract)

    return AdapterTrainer(
        adapted,
        mixed({"harmless": (rows.rows, settings.batch)}, steps=section.steps[-1], seed=seed),
        completion_loss,
        label="fine-tuning on harmless rows",
        lr=section.lr,
        seed=seed,
        scratch=out / ".scratch" / arm.value,
        micro_batch=settings.micro_batch,
        checkpoint_activations=settings.checkpoint_activations,
        checkpoint_every=settings.checkpoint_every,
        after_step=save_chosen,
    ).finish()
