"""The record of watches: what each re-measurement of a champion found, kept where the registry is.

One run for each champion, whose metrics have a point a watch, so that MLflow draws their curve.
What was found in words is a parameter of that run, which MLflow writes only once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from components.core.errors import RegistryError
from components.core.result import RateFigure
from components.registry.mlflow_client import as_metrics
from components.registry.mlflow_registry import Registry

PREFIX = "watch."
OWNER = "safereact.watch_of"  # the tag of a run that holds the watches of a registered model
_ADAPTER = "adapter_digest"


@dataclass(frozen=True, slots=True)
class Watched:
    """One watch of a champion."""

    version: str
    adapter: str
    found: str  # drift, no drift, cannot tell
    below_policy: bool
    words: str
    when: str  # UTC, ISO 8601


def watches_of(registry: Registry, name: str, adapter: str) -> list[Watched]:
    """Return the watches of the champion of `name` with this adapter, oldest first.

    Raises `RegistryError` for an entry that is damaged.
    """
    found = [one for run in _runs(registry, name, adapter) for one in _read(registry, run)]
    return sorted(found, key=lambda one: one.when)


def first_figures(registry: Registry, name: str, adapter: str) -> dict[str, RateFigure]:
    """Return each figure as the first watch of this champion that measured it found it.

    Raises `RegistryError` for one without its interval, or that is no number.
    """
    found = {}
    for run in _runs(registry, name, adapter):  # an older one's figures over a newer one's
        flat = registry.first_points(run)
        for metric, rate in flat.items():
            if f"{metric}.n" not in flat:
                continue
            try:
                n = round(flat[f"{metric}.n"])
                ends = {"low": flat[f"{metric}.low"], "high": flat[f"{metric}.high"]}
                found[metric] = RateFigure(rate=rate, count=round(rate * n), n=n, **ends)
            except (KeyError, ValueError) as error:
                raise RegistryError(f"{metric} of run {run} is damaged: {error}") from error
    return found


def record_watch(
    registry: Registry,
    name: str,
    experiment: str,
    watched: Watched,
    figures: Mapping[str, RateFigure],
) -> int:
    """Write a watch into the record, its figures behind those of the watches before it; return
    which watch of this champion it is."""
    tags = {OWNER: name, _ADAPTER: watched.adapter}
    records = registry.runs(None, tags)
    left_open = [run.id for run in records if run.open]  # by a call that was killed
    if not records:
        home, title = registry.experiment(experiment), f"watch of {name} version {watched.version}"
        about = "A point and a parameter for each time that the champion was measured again."
        left_open = [registry.begin_run(home, title, tags, about=about)]
    for run in left_open:
        registry.end_run(run, figures={}, parameters={}, tags={})
    run = _runs(registry, name, watched.adapter)[-1]  # another may have begun before
    value = json.dumps(asdict(watched), sort_keys=True)
    taken = {int(key.removeprefix(PREFIX)) for key in registry.claims(run, PREFIX)}
    number = max(taken, default=0) + 1
    while not registry.claim(run, f"{PREFIX}{number:06d}", value):
        number += 1
    registry.add_points(run, as_metrics(figures), step=number)
    return number


def _runs(registry: Registry, name: str, adapter: str) -> list[str]:
    """Return the runs with the watches of a champion, the oldest last: one, but where two first
    watches began at the same time by clocks that differ."""
    return [run.id for run in registry.runs(None, {OWNER: name, _ADAPTER: adapter})]


def _read(registry: Registry, run: str) -> list[Watched]:
    found = []
    for key, value in sorted(registry.claims(run, PREFIX).items()):
        try:
            found.append(Watched(**json.loads(value)))
        except (TypeError, ValueError) as error:
            raise RegistryError(f"{key} of run {run} is damaged: {error}") from error
    return found
