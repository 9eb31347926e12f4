"""A search for a better setting in MLflow: one run for the study, and a child run a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from components.core.result import RateFigure
from components.registry.mlflow_client import as_metrics
from components.registry.mlflow_registry import Registry

_ASKED = "A search for a better setting, by figures of validation prompts."
_PARENT = "mlflow.parentRunId"  # the tag by which MLflow nests runs


class TrialRun(NamedTuple):
    """One trial: when it ran, under which setting, and its figures or the reason for none."""

    number: int
    begin: datetime
    end: datetime
    parameters: Mapping[str, str]
    rates: Mapping[str, RateFigure]
    failure: str | None


def open_study(registry: Registry, experiment: str, profile: str, key: str) -> StudyRun:
    """Return the run of the study `key` in an experiment, the same one in every call."""
    tags = {"profile": profile, "study": key}
    for run in registry.runs(experiment, tags):
        return StudyRun(registry, experiment, run.id)
    title = f"tune {profile} {key[:12]}"
    made = registry.begin_run(experiment, title, tags, about=f"{_ASKED} A child run a setting.")
    return StudyRun(registry, experiment, made)


class StudyRun(NamedTuple):
    """The run of one study. What is there already is not written twice, so a search that was
    killed goes on with the same runs."""

    registry: Registry
    experiment: str
    id: str

    def add(self, trials: Sequence[TrialRun]) -> None:
        """Write the trials that have no finished child run yet."""
        found = self.registry.runs(self.experiment, {_PARENT: self.id})
        there = {run.tags["trial"]: run for run in found}
        for trial in trials:
            run = there.get(str(trial.number))
            if run is None or run.open:
                self._write(trial, run.id if run else None)

    def close(
        self, rates: Mapping[str, RateFigure], *, files: Sequence[Path], tags: Mapping[str, str]
    ) -> None:
        """Write the best setting's figures and the search's files, and close the run."""
        self.registry.end_run(
            self.id, figures=as_metrics(rates), parameters={}, tags=tags, files=files
        )

    def _write(self, trial: TrialRun, run: str | None) -> None:
        tags = {_PARENT: self.id, "trial": str(trial.number)}
        title = f"trial {trial.number}"
        self.registry.end_run(
            run or self.registry.begin_run(self.experiment, title, tags, trial.begin, about=_ASKED),
            figures=as_metrics(trial.rates),
            parameters=trial.parameters,
            tags={"failure": trial.failure} if trial.failure else {},
            failed=trial.failure is not None,
            end=trial.end,
        )
