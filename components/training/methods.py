"""Every method that trains an adapter, in the same form: a course, a probe, a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.training.adapters import save_lora, trainable_parameters
from components.training.baseline import fine_tune
from components.training.reactivation import reactivate
from components.training.rerouting import reroute, rerouting_layers

if TYPE_CHECKING:
    from peft import PeftModel

    from components import config
    from components.results import Probe
    from components.training.checkpoints import Progress
    from components.training.course import Course


@dataclass(frozen=True, slots=True)
class Trained:
    """An adapter on disk and how it came about."""

    digest: str
    parameters: int
    harmful_rows: int
    progress: Progress


def safereact(course: Course, probe: Probe, folder: Path) -> Trained:
    """Train towards the probe's teacher and save the adapter into `folder`."""
    settings, depth = course.settings, max(probe.target_layers)
    lesson = course.lesson(probe)
    adapted = course.adapted(range(1, depth + 1))
    progress = reactivate(
        adapted,
        lesson.side,
        course.retained(depth),
        layers=probe.target_layers,
        steps=settings.steps,
        batch=settings.batch,
        micro_batch=settings.micro_batch,
        lr=settings.lr,
        strength=settings.strength,
        schedule=settings.schedule,
        seed=course.seed,
        scratch=_scratch(course, folder),
        checkpoint_every=settings.checkpoint_every,
        criterion=course.criterion(probe),
    )
    return _save(course, adapted, folder, len(lesson.side.rows), progress)


def sft(course: Course, probe: Probe, folder: Path, *, retain_share: float) -> Trained:
    """Fine-tune on the teacher's refusals, with a share of retained answers; save the adapter."""
    layers = range(1, course.models.post_trained.layers + 1)
    settings = course.settings
    return _fine_tune(
        course,
        probe,
        folder,
        course.adapted(layers),
        retain_share=retain_share,
        steps=settings.baseline_steps,
        lr=settings.baseline_lr,
    )


def rank_one(course: Course, probe: Probe, folder: Path, section: config.RankOne) -> Trained:
    """Fine-tune one direction of the middle third's up_proj (arXiv 2507.17075); save it."""
    depth = course.models.post_trained.layers
    layers = range(depth // 3 + 1, depth - depth // 3 + 1)
    return _fine_tune(
        course,
        probe,
        folder,
        course.adapted(layers, modules=("up_proj",), rank=1),
        retain_share=section.retain,
        steps=section.steps,
        lr=section.lr,
    )


def circuit_breaker(
    course: Course, probe: Probe, folder: Path, section: config.CircuitBreaker
) -> Trained:
    """Reroute the states of the model's own harmful answers (arXiv 2406.04313); save the adapter.

    The retained side is that of SafeReAct with this probe, so it is asked once for both.
    """
    depth = course.models.post_trained.layers
    layers = rerouting_layers(depth) if section.layers == "auto" else section.layers
    harmful = course.compliant(section.tokens, layers)
    adapted = course.adapted(range(1, max(layers) + 1))
    progress = reroute(
        adapted,
        harmful,
        course.retained(max(*layers, *probe.target_layers)),
        layers=layers,
        steps=section.steps,
        batch=course.settings.batch,
        micro_batch=course.settings.micro_batch,
        lr=section.lr,
        strength=section.strength,
        seed=course.seed,
        scratch=_scratch(course, folder),
        checkpoint_every=course.settings.checkpoint_every,
    )
    return _save(course, adapted, folder, len(harmful.rows), progress)


def _fine_tune(
    course: Course,
    probe: Probe,
    folder: Path,
    adapted: PeftModel,
    *,
    retain_share: float,
    steps: int,
    lr: float,
) -> Trained:
    refusals = course.lesson(probe).refusals
    progress = fine_tune(
        adapted,
        refusals,
        course.retained(max(probe.target_layers)).rows,
        steps=steps,
        batch=course.settings.batch,
        micro_batch=course.settings.micro_batch,
        retain_share=retain_share,
        lr=lr,
        seed=course.seed,
        scratch=_scratch(course, folder),
        checkpoint_every=course.settings.checkpoint_every,
    )
    return _save(course, adapted, folder, len(refusals), progress)


def _save(
    course: Course, adapted: PeftModel, folder: Path, harmful_rows: int, progress: Progress
) -> Trained:
    digest = save_lora(adapted, folder, course.models.post_trained.contract)
    return Trained(digest, trainable_parameters(adapted), harmful_rows, progress)


def _scratch(course: Course, folder: Path) -> Path:
    return course.scratch / f"steps-{folder.name}"
