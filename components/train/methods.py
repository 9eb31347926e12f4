"""Every method that trains an adapter, in the same form: a course, a probe, a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.train.adapters import save_lora, trainable_parameters
from components.train.baseline import fine_tune
from components.train.reactivation import reactivate
from components.train.rerouting import reroute, rerouting_layers

if TYPE_CHECKING:
    from peft import PeftModel

    from components.probe.result import Probe
    from components.train.checkpoints import Progress
    from components.train.course import Course
    from components.train.settings import CircuitBreaker, RankOne


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
    train = partial(
        reactivate,
        harmful=lesson.side,
        retain=course.retained(depth),
        layers=probe.target_layers,
        steps=settings.steps,
        lr=settings.lr,
        strength=settings.strength,
        schedule=settings.schedule,
        criterion=course.criterion(probe),
        **_common(course, folder),
    )
    return _trained(course, train, folder, len(lesson.side.rows), range(1, depth + 1))


def sft(course: Course, probe: Probe, folder: Path, *, retain_share: float) -> Trained:
    """Fine-tune on the teacher's refusals, with a share of retained answers; save the adapter."""
    return _fine_tuned(
        course,
        probe,
        folder,
        range(1, course.models.post_trained.layers + 1),
        retain_share=retain_share,
        steps=course.settings.baseline_steps,
        lr=course.settings.baseline_lr,
    )


def rank_one(course: Course, probe: Probe, folder: Path, section: RankOne) -> Trained:
    """Fine-tune one direction of the middle third's up_proj (arXiv 2507.17075); save it."""
    depth = course.models.post_trained.layers
    return _fine_tuned(
        course,
        probe,
        folder,
        range(depth // 3 + 1, depth - depth // 3 + 1),
        modules=("up_proj",),
        rank=1,
        retain_share=section.retain,
        steps=section.steps,
        lr=section.lr,
    )


def circuit_breaker(course: Course, probe: Probe, folder: Path, section: CircuitBreaker) -> Trained:
    """Reroute the states of the model's own harmful answers (arXiv 2406.04313); save the adapter.

    The retained side is that of SafeReAct with this probe, so it is asked once for both.
    """
    depth = course.models.post_trained.layers
    layers = rerouting_layers(depth) if section.layers == "auto" else section.layers
    harmful = course.compliant(section.tokens, layers)
    train = partial(
        reroute,
        harmful=harmful,
        retain=course.retained(max(*layers, *probe.target_layers)),
        layers=layers,
        steps=section.steps,
        lr=section.lr,
        strength=section.strength,
        **_common(course, folder),
    )
    return _trained(course, train, folder, len(harmful.rows), range(1, max(layers) + 1))


def _fine_tuned(
    course: Course,
    probe: Probe,
    folder: Path,
    layers: Sequence[int],
    *,
    retain_share: float,
    steps: int,
    lr: float,
    **shape: Any,
) -> Trained:
    refusals = course.lesson(probe).refusals
    train = partial(
        fine_tune,
        refusals=refusals,
        retain=course.retained(max(probe.target_layers)).rows,
        retain_share=retain_share,
        steps=steps,
        lr=lr,
        **_common(course, folder),
    )
    return _trained(course, train, folder, len(refusals), layers, **shape)


def _common(course: Course, folder: Path) -> dict[str, Any]:
    """Return the settings that all trainings have in common."""
    return {
        "batch": course.settings.batch,
        "micro_batch": course.settings.micro_batch,
        "seed": course.seed,
        "scratch": course.scratch / f"steps-{folder.name}",
        "checkpoint_every": course.settings.checkpoint_every,
    }


def _trained(
    course: Course,
    train: Callable[[PeftModel], Progress],
    folder: Path,
    harmful_rows: int,
    layers: Sequence[int],
    **shape: Any,
) -> Trained:
    """Load the student with a fresh adapter of this shape, `train` it, and save it into `folder`.

    All that is asked of a model lies in `train` by then: no two whole models are in memory.
    """
    adapted = course.adapted(layers, **shape)
    progress = train(adapted)
    digest = save_lora(adapted, folder, course.models.post_trained.contract)
    return Trained(digest, trainable_parameters(adapted), harmful_rows, progress)
