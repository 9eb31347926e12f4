"""Stage `baselines`: the other methods' adapters, to be compared with the one of `train`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import TrainingError
from components.core.run_record import part
from components.core.vocabulary import Method
from components.studies.baselines.result import Baseline, Baselines
from components.train.course import Course
from components.train.methods import Trained, circuit_breaker, rank_one, safereact, sft
from components.train.processes import process_count, refuse_deepspeed, save_once
from components.train.targets import check_targets

if TYPE_CHECKING:
    from components.models.result import Models
    from components.prepare.result import PromptSet
    from components.probe.result import Probe
    from components.studies.baselines.settings import BaselinesSettings
    from components.train.settings import TrainSettings

log = logging.getLogger(__name__)

TEACHERS: dict[Method, str] = {
    Method.SAFEREACT_BASE: "base",
    Method.SAFEREACT_PRUNED: "pruned",
    Method.SAFEREACT_REMINDER: "reminder",
    Method.SAFEREACT_PRUNED_REMINDER: "pruned-reminder",
}


def baselines(
    section: BaselinesSettings,
    settings: TrainSettings,
    prompts: PromptSet,
    models: Models,
    probe: Probe,
    *,
    seed: int,
    out: Path,
) -> Baselines:
    """Return what became of every method, the adapters saved below `out`.

    SafeReAct with the probe's own teacher is the adapter of `train` and is not trained again. A
    method that cannot be trained on this pair is kept with its reason. What a killed run left in
    `out` is taken up. Raises `TrainingError` where the prompts will not do or a launcher turns
    DeepSpeed on.
    """
    refuse_deepspeed()
    check_targets(probe.target_layers, models.post_trained.layers)
    course = Course(settings, prompts, models, seed, out / ".scratch")
    ways: dict[Method, Callable[[Course, Probe, Path], Trained]] = {
        Method.SFT: partial(sft, retain_share=0),
        Method.CIRCUIT_BREAKER: partial(circuit_breaker, section=section.circuit_breaker),
        Method.RANK_ONE: partial(rank_one, section=section.rank_one),
    }
    lines = []
    for method in section.methods:
        kind = TEACHERS.get(method, probe.teacher)
        if method in TEACHERS and kind == probe.teacher:
            continue
        log.info("method %s", method)
        taught = probe.model_copy(update={"teacher": kind})
        ask = partial(_ask, course, taught, method)
        train = partial(ways.get(method, safereact), course, taught, out / method.value)
        lines.append(_line(method, ask, train))
    result = Baselines(
        base_model=models.post_trained.digest,
        data=prompts.digest_of_prompts,
        contract=models.post_trained.contract,
        methods=tuple(lines),
    )
    return save_once(result, out, course.scratch)


def _ask(course: Course, probe: Probe, method: Method) -> None:
    """Ask what no method alone needs, so that it lies in the course's scratch afterwards."""
    if method is not Method.CIRCUIT_BREAKER:  # the one that no teacher teaches
        course.lesson(probe)
    course.retained(max(probe.target_layers))
    if method in TEACHERS:
        course.criterion(probe)


def _line(method: Method, ask: Callable[[], None], train: Callable[[], Trained]) -> Baseline:
    """Train a method; what `ask` takes is no part of the method's cost."""
    try:
        ask()
        with part(method.value):
            trained = train()
    except TrainingError as error:
        if process_count() > 1:
            raise  # the other processes wait for what this one could not make
        log.warning("%s: %s", method, error)
        return Baseline(method=method, digest=None, reason=str(error))
    return Baseline(
        method=method,
        digest=trained.digest,
        reason=None,
        parameters=trained.parameters,
        steps=trained.progress.taken,
        rows=trained.harmful_rows,
        tokens=trained.progress.tokens,
    )
