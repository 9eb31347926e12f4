"""Stage `train`: the SafeReAct adapter, and its LoRA-SFT baseline beside it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components import workspace
from components.lm.loading import checkpoint_folder, load_tokenizer
from components.records import Role, Split
from components.results import Adapter
from components.storage import append_json_line
from components.training.adapters import add_lora, save_lora, trainable_parameters
from components.training.baseline import fine_tune
from components.training.reactivation import first_and_last, reactivate
from components.training.rows import RETAINED, read_prompts, sample_prompts
from components.training.sides import Lesson, retained_side, teacher_lesson
from components.training.targets import check_targets
from components.training.teacher import harmful_refused, open_reader, open_teacher

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from components import config
    from components.results import Models, Probe, PromptSet
    from components.training.batches import Side
    from components.training.teacher import Reader
    from components.training.trainer import Curves


def train(
    section: config.Train,
    prompts: PromptSet,
    models: Models,
    probe: Probe,
    *,
    seed: int,
    out: Path,
) -> Adapter:
    """Return the trained adapters, saved below `out` with the curves of the losses.

    The teacher's states are stored first and the teacher is freed; then the student is loaded.
    The same inputs, seed and number of threads give the same bytes on the same machine's CPU.
    Raises `TrainingError` where the teacher or the prompts will not do, or a loss is not finite.
    """
    deepest = check_targets(probe.target_layers, models.post_trained.layers)
    generator = np.random.default_rng(seed)
    scratch = out / ".scratch"
    lesson = _lesson(section, prompts, models, probe, generator, scratch / "targets")
    student = open_reader(models, models.post_trained)
    retain = _retain(section, prompts, student, deepest, generator, scratch / "references")
    digest, baseline, parameters, curves = _adapters(
        section, models, probe, student.model, lesson, retain, seed, out
    )
    shutil.rmtree(scratch)
    for line in curves:
        append_json_line(out / workspace.CURVES, line)
    return Adapter(
        digest=digest,
        baseline_digest=baseline,
        base_model=models.post_trained.digest,
        data=prompts.digest_of_prompts,
        contract=models.post_trained.contract,
        teacher=probe.teacher,
        target_layers=probe.target_layers,
        adapted_layers=deepest,
        parameters=parameters,
        steps=section.steps,
        harmful_rows=len(lesson.side.rows),
        teacher_refused=lesson.refused,
        teacher_asked=lesson.asked,
        retain_rows=len(retain.rows),
        alignment_loss=first_and_last(curves, "alignment"),
        retention_loss=first_and_last(curves, "retention"),
    ).save(out)


def _lesson(
    section: config.Train,
    prompts: PromptSet,
    models: Models,
    probe: Probe,
    generator: np.random.Generator,
    folder: Path,
) -> Lesson:
    rows = prompts.rows(split=Split.TRAIN)
    harmful = sample_prompts(rows, (Role.HARMFUL,), section.harmful_prompts, generator)
    tokenizer = load_tokenizer(checkpoint_folder(models, models.post_trained))
    waived = harmful_refused(probe) == 0
    with open_teacher(models, probe) as teacher:
        return teacher_lesson(
            teacher,
            harmful,
            read_prompts(
                tokenizer, harmful, forms=section.forms, max_tokens=section.max_prompt_tokens
            ),
            refusal_tokens=section.refusal_tokens,
            prompt_tokens=section.prompt_tokens,
            layers=probe.target_layers,
            patterns=section.rules.refusal_patterns,
            compliance_pattern=section.rules.compliance_pattern,
            waived=waived,
            folder=folder,
        )


def _retain(
    section: config.Train,
    prompts: PromptSet,
    student: Reader,
    depth: int,
    generator: np.random.Generator,
    folder: Path,
) -> Side:
    rows = prompts.rows(split=Split.TRAIN)
    chosen = sample_prompts(rows, RETAINED, section.retain_prompts, generator)
    read = read_prompts(
        student.tokenizer, chosen, forms=section.forms, max_tokens=section.max_prompt_tokens
    )
    return retained_side(
        student, read, max_new_tokens=section.retain_tokens, depth=depth, folder=folder
    )


def _adapters(
    section: config.Train,
    models: Models,
    probe: Probe,
    student: PreTrainedModel,
    lesson: Lesson,
    retain: Side,
    seed: int,
    out: Path,
) -> tuple[str, str, int, Curves]:
    """Train and save both adapters, one after the other on the same model.

    Returns the digests of adapter and baseline, the adapter's size and its curves.
    """
    ref, scratch = models.post_trained, out / ".scratch" / "trainer"
    shape = {**section.lora.model_dump(), "location": ref.location, "seed": seed}
    adapted = add_lora(student, layers=max(probe.target_layers), **shape)
    curves = reactivate(
        adapted,
        lesson.side,
        retain,
        layers=probe.target_layers,
        steps=section.steps,
        batch=section.batch,
        lr=section.lr,
        strength=section.strength,
        schedule=section.schedule,
        seed=seed,
        scratch=scratch,
    )
    digest = save_lora(adapted, out / workspace.ADAPTER, ref.contract)
    parameters = trainable_parameters(adapted)
    adapted = add_lora(adapted.unload(), layers=ref.layers, **shape)
    fine_tune(
        adapted,
        lesson.refusals,
        retain.rows,
        steps=section.baseline_steps,
        batch=section.batch,
        retain_share=section.baseline_retain,
        lr=section.baseline_lr,
        seed=seed,
        scratch=scratch,
    )
    baseline = save_lora(adapted, out / workspace.BASELINE, ref.contract)
    return digest, baseline, parameters, curves
