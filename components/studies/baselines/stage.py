"""Stage `baselines`: the other methods' adapters, to be compared with the one of `train`."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.errors import TrainingError
from components.core.run_record import part
from components.core.vocabulary import Method
from components.studies.baselines.result import Baseline, Baselines
from components.train.data import TrainingData
from components.train.methods import ask_models, open_method, train_adapter
from components.train.processes import process_count, save_once

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
    data = TrainingData(settings, prompts, models, probe, seed, out / ".scratch")
    own: dict[Method, Any] = {
        Method.SFT: settings.baseline.model_copy(update={"retain": 0}),
        Method.CIRCUIT_BREAKER: section.circuit_breaker,
        Method.RANK_ONE: section.rank_one,
    }
    found = []
    for method in section.methods:
        teacher = TEACHERS.get(method, probe.teacher)
        if method in TEACHERS and teacher == probe.teacher:
            continue
        log.info("method %s", method)
        taught = replace(data, probe=probe.model_copy(update={"teacher": teacher}))
        found.append(_baseline(method, own.get(method, settings), taught, out / method.value))
    result = Baselines(
        base_model=models.post_trained.digest,
        data=prompts.digest_of_prompts,
        contract=models.post_trained.contract,
        methods=tuple(found),
    )
    return save_once(result, out, data.scratch)


def _baseline(method: Method, settings: Any, data: TrainingData, folder: Path) -> Baseline:
    """Train a method; what other methods need as well is no part of its cost."""
    name = "safereact" if method in TEACHERS else method.value
    chosen = open_method(name, data, settings)
    try:
        ask_models(chosen, data)
        with part(method.value):
            trained = train_adapter(chosen, data, folder)
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
