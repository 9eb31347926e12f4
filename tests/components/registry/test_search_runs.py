"""A search's runs in a real MLflow store."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from components.core.errors import RegistryError
from components.registry.mlflow_client import as_metrics
from components.registry.mlflow_registry import Registry
from components.registry.search_runs import StudyRun, TrialRun, open_study
from tests.searches import figure, rates

BEGIN = datetime(2026, 1, 2, 3, 4, 5)


def trial_run(number: int, *, failure: str | None = None) -> TrialRun:
    return TrialRun(
        number=number,
        begin=BEGIN + timedelta(minutes=number),
        end=BEGIN + timedelta(minutes=number + 1),
        parameters={"lr": "0.001", "teacher": "base"},
        rates={} if failure else rates(number, 98),
        failure=failure,
    )


@pytest.fixture
def study(registry, request) -> StudyRun:
    return open_study(registry, registry.experiment(request.node.name), "demo", "k" * 64)


def runs_of(study: StudyRun):
    """Return the study's run and its children by the number of their trial, as MLflow has them."""
    runs = study.registry._client.search_runs([study.experiment])
    (parent,) = [run for run in runs if run.info.run_id == study.id]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == study.id]
    assert len(runs) == 1 + len(children)
    return parent, {run.data.tags["trial"]: run for run in children}


def test_a_trial_is_a_child_run_with_its_setting_and_figures(study):
    study.add([trial_run(3)])
    _, children = runs_of(study)
    run = children["3"]
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time == 60_000
    assert run.info.start_time == int(1000 * (BEGIN + timedelta(minutes=3)).timestamp())
    assert run.data.params == {"lr": "0.001", "teacher": "base"}
    assert run.data.metrics["harmful.either.complied"] == 0.03
    assert run.data.metrics["harmful.either.complied.n"] == 100


def test_nothing_is_written_twice(study):
    study.add([trial_run(0)])
    again = open_study(study.registry, study.experiment, "demo", "k" * 64)
    assert again == study
    again.add([trial_run(0), trial_run(1)])
    again.add([trial_run(0), trial_run(1)])
    _, children = runs_of(study)
    assert sorted(children) == ["0", "1"]


def test_a_child_run_that_a_kill_left_open_is_completed(study):
    tags = {"mlflow.parentRunId": study.id, "trial": "0"}
    study.registry.begin_run(study.experiment, "trial 0", tags)
    study.add([trial_run(0)])
    _, children = runs_of(study)
    assert children["0"].info.status == "FINISHED"
    assert children["0"].data.metrics["reasoning.correct"] == 0.98


def test_a_failed_trial_says_why(study):
    study.add([trial_run(0, failure="the loss of step 3 is not finite")])
    _, children = runs_of(study)
    assert children["0"].info.status == "FAILED"
    assert children["0"].data.tags["failure"] == "the loss of step 3 is not finite"
    assert children["0"].data.metrics == {}


def test_a_closed_study_holds_the_best_figures_and_the_files(study, tmp_path):
    (tmp_path / "trials.json").write_text("{}")
    study.close(rates(2, 97), files=[tmp_path / "trials.json"], tags={"best_trial": "4"})
    parent, _ = runs_of(study)
    assert parent.info.status == "FINISHED" and parent.data.tags["best_trial"] == "4"
    assert parent.data.metrics["harmful.either.complied"] == 0.02
    assert [f.path for f in study.registry._client.list_artifacts(study.id)] == ["trials.json"]


def test_studies_of_other_profiles_or_keys_have_runs_of_their_own(study):
    others = [
        open_study(study.registry, study.experiment, "other", "k" * 64),
        open_study(study.registry, study.experiment, "demo", "l" * 64),
    ]
    assert len({study.id, *(other.id for other in others)}) == 3


def test_every_figure_has_its_interval_and_n():
    assert as_metrics({"a.b": figure(90)}) == {
        "a.b": 0.9,
        "a.b.low": pytest.approx(0.85),
        "a.b.high": pytest.approx(0.95),
        "a.b.n": 100,
    }


def test_a_range_has_its_other_end_beside_it():
    lowest = figure(90).model_copy(update={"highest": figure(95)})
    assert as_metrics({"a.b": lowest})["a.b.highest"] == 0.95


def test_a_server_that_is_down_is_one_clear_error(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.raises(RegistryError, match=r"127\.0\.0\.1:1\) does not answer"):
        Registry(tmp_path).experiment("any")
