"""The stage `baselines`: the other arms' adapters, to be compared with the one of `train`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from components.core.errors import ConfigError, TrainingError
from components.core.run_record import part
from components.core.section import explain
from components.studies.baselines.controls import CONTROL_DATA
from components.studies.baselines.result import Baseline, Baselines
from components.studies.baselines.settings import MethodSettings, split_name
from components.train.data import TrainingData
from components.train.methods import METHODS, ask_models, open_method, train_adapter
from components.train.processes import process_count, save_once

if TYPE_CHECKING:
    from components.models.result import Models
    from components.prepare.result import PromptSet
    from components.probe.result import Probe
    from components.studies.baselines.settings import BaselinesSettings
    from components.train.settings import TrainSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainedArm:
    """One arm: how it is trained and on what."""

    name: str
    method: str
    settings: Any  # the method's own
    data: TrainingData


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
    """Return what became of every arm, the adapters saved below `out`.

    An arm that is trained as another one is, or as the adapter of `train`, is not trained again. A
    method that cannot be trained on this pair is kept with its reason. What a killed run left in
    `out` is taken up. Raises `ConfigError` for settings that a method does not have, and
    `TrainingError` where the prompts will not do or a launcher turns DeepSpeed on.
    """
    data = TrainingData(settings, prompts, models, probe, seed, out / ".scratch")
    arms = list(trained_arms(section, data))
    found = []
    for arm in arms:
        log.info("arm %s", arm.name)
        found.append(_baseline(arm, out / arm.name))
    result = Baselines(
        base_model=models.post_trained.digest,
        data=prompts.digest_of_prompts,
        contract=models.post_trained.contract,
        method=settings.method,
        forms=settings.forms,
        arms=tuple(found),
    )
    return save_once(result, out, data.scratch)


def trained_arms(section: BaselinesSettings, data: TrainingData) -> Iterator[TrainedArm]:
    """Yield the arms that are not trained as one before them is, nor as the adapter of `train`."""
    train, probe = data.settings, data.probe
    shipped = open_method(train.method, data)
    taught = shipped.taught(data).probe.teacher
    known: list[tuple[Any, ...]] = [(train.method, taught, probe.target_layers, shipped.settings)]
    for name in section.methods:
        method, taught_by = split_name(name)
        control = CONTROL_DATA.get(taught_by or "")
        always = METHODS.find(method).learns_from
        teacher = always or (probe.teacher if control or taught_by is None else taught_by)
        given = section.settings.get(method, MethodSettings())
        layers = given.target_layers or probe.target_layers
        own = own_settings(method, section, train)
        if (key := (method, control or teacher, layers, own)) in known:
            continue
        known.append(key)
        own_probe = probe.model_copy(update={"teacher": teacher, "target_layers": layers})
        parts = (train, data.prompts, data.models, own_probe, data.seed, data.scratch)
        yield TrainedArm(name, method, own, (control or TrainingData)(*parts))


def own_settings(method: str, section: BaselinesSettings, train: TrainSettings) -> Any:
    """Return a method's settings in this section; what it does not say is as in `train`.

    Raises `ConfigError` for a setting that the method does not have.
    """
    plain = {
        "sft": train.baseline.model_copy(update={"retain": 0}),
        "circuit-breaker": section.circuit_breaker,
        "rank-one": section.rank_one,
    }
    if (own := plain.get(method)) is None:
        own = METHODS.find(method).settings_of(train.model_copy(update={"method": method}))
    given = section.settings.get(method, MethodSettings()).given
    if unknown := given.keys() - type(own).model_fields.keys():
        raise ConfigError(
            f"baselines.settings.{method} sets {', '.join(sorted(unknown))}, which the method does "
            "not have; leave it out"
        )
    return own.model_copy(update=given)


def _check_settings(arm: TrainedArm) -> None:
    """Raise `TrainingError` where the method cannot train under these settings of `train`."""
    try:
        type(arm.settings).model_validate(arm.settings.model_dump())
    except ValidationError as error:
        raise TrainingError(explain(error).strip()) from error


def _baseline(arm: TrainedArm, folder: Path) -> Baseline:
    """Train an arm; what others need as well is no part of its cost."""
    chosen = open_method(arm.method, arm.data, arm.settings)
    try:
        _check_settings(arm)
        ask_models(chosen, arm.data)
        with part(arm.name):
            trained = train_adapter(chosen, arm.data, folder)
    except TrainingError as error:
        if process_count() > 1:
            raise  # the other processes wait for what this one could not make
        log.warning("%s: %s", arm.name, error)
        return Baseline(arm=arm.name, digest=None, reason=str(error))
    return Baseline(
        arm=arm.name,
        digest=trained.digest,
        reason=None,
        lr=chosen.settings.lr,
        parameters=trained.parameters,
        steps=trained.progress.taken,
        rows=trained.harmful_rows,
        tokens=trained.progress.tokens,
    )
