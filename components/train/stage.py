"""Stage `train`: the SafeReAct adapter, and its LoRA-SFT baseline beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from components.core import paths
from components.core.run_record import part
from components.core.storage import write_json_lines
from components.core.vocabulary import Arm
from components.train.course import Course
from components.train.methods import safereact, sft
from components.train.processes import is_first, refuse_deepspeed, save_once
from components.train.reactivation import first_and_last
from components.train.result import Adapter
from components.train.targets import check_targets

if TYPE_CHECKING:
    from components.models.result import Models
    from components.prepare.result import PromptSet
    from components.probe.result import Probe
    from components.train.settings import TrainSettings


def train(
    section: TrainSettings,
    prompts: PromptSet,
    models: Models,
    probe: Probe,
    *,
    seed: int,
    out: Path,
) -> Adapter:
    """Return the trained adapters, saved below `out` with the curves of the losses.

    The teacher's states are stored first and the teacher is freed; then the student is loaded.
    What a killed run left in `out` is taken up. Several processes may call it together (see
    processes.py). The same inputs, seed and number of threads and processes give the same bytes on
    the same machine's CPU. Raises `TrainingError` where the teacher or the prompts will not do, a
    loss is not finite, or a launcher turns DeepSpeed on.
    """
    refuse_deepspeed()
    depth = check_targets(probe.target_layers, models.post_trained.layers)
    course = Course(section, prompts, models, seed, out / ".scratch")
    lesson, retain = course.lesson(probe), course.retained(depth)
    course.criterion(probe)  # asks what the training is watched by, which is no part of its cost
    with part(Arm.RESTORED.value):
        restored = safereact(course, probe, out / paths.ADAPTER)
    with part(Arm.BASELINE.value):
        share = section.baseline_retain
        baseline = sft(course, probe, out / paths.BASELINE, retain_share=share)
    curves = restored.progress.curves
    if is_first():
        write_json_lines(out / paths.CURVES, curves)
    result = Adapter(
        digest=restored.digest,
        baseline_digest=baseline.digest,
        base_model=models.post_trained.digest,
        data=prompts.digest_of_prompts,
        contract=models.post_trained.contract,
        teacher=probe.teacher,
        target_layers=probe.target_layers,
        adapted_layers=depth,
        parameters=restored.parameters,
        steps=restored.progress.taken,
        stopped=restored.progress.stopped or "after all its steps",
        tokens=restored.progress.tokens,
        baseline_tokens=baseline.progress.tokens,
        harmful_rows=restored.harmful_rows,
        teacher_refused=lesson.refused,
        teacher_asked=lesson.asked,
        retain_rows=len(retain.rows),
        alignment_loss=first_and_last(curves, "alignment"),
        retention_loss=first_and_last(curves, "retention"),
    )
    return save_once(result, out, course.scratch)
