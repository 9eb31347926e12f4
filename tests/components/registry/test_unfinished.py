"""A registration that fails or is killed half way leaves nothing that is pending for ever."""

from __future__ import annotations

import pytest

from components.core.errors import RegistryError
from components.registry.mlflow_registry import CANDIDATE, Registry
from components.registry.registration import register
from flows.runner.registry import record_failure
from tests.releases import NAMES, write_all


def models_and_runs(registry: Registry) -> tuple[list[str], list[str]]:
    """Return how the logged models, and how the runs of adapters stand, in alphabetical order."""
    home = registry.experiment(NAMES["experiment"])
    client = registry._client
    runs = [run for run in client.search_runs([home]) if "adapter_digest" in run.data.tags]
    models = client.search_logged_models([home])
    return sorted(str(m.status) for m in models), sorted(run.info.status for run in runs)


def failures(registry: Registry) -> list[str]:
    """Return how the runs stand that say why nothing was decided."""
    found = registry._client.search_runs([registry.experiment(NAMES["experiment"])])
    return [run.info.status for run in found if "failure" in run.data.tags]


@pytest.fixture
def store_goes_away(monkeypatch):
    """A function that lets the store of files take one file and then fail with an error, with
    `all_of_it` together with the registry."""
    from mlflow import MlflowClient
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    def refuse(*_) -> None:
        raise ConnectionError("connection refused")

    def break_with(error: BaseException, *, all_of_it: bool = False) -> None:
        def log_artifacts(self, local_dir, artifact_path=None):
            self.log_artifact(f"{local_dir}/MLmodel")
            if all_of_it:
                monkeypatch.setattr(MlflowClient, "finalize_logged_model", refuse)
                monkeypatch.setattr(MlflowClient, "set_terminated", refuse)
            raise error

        monkeypatch.setattr(LocalArtifactRepository, "log_artifacts", log_artifacts)

    return break_with


def test_a_failed_upload_is_closed_as_failed_and_made_again(
    workspace, registry, store_goes_away, monkeypatch
):
    store_goes_away(ConnectionError("connection refused"))
    with pytest.raises(RegistryError, match="does not answer"):
        register(workspace, **NAMES)
    assert models_and_runs(registry) == (["FAILED"], ["FAILED"])
    monkeypatch.undo()
    assert register(workspace, **NAMES).version == "1"
    assert models_and_runs(registry) == (["FAILED", "READY"], ["FAILED", "FINISHED"])


def test_a_store_of_its_own_library_fails_in_one_message(workspace, store_goes_away):
    """As boto3 says it, which MLflow hands through."""
    exceptions = pytest.importorskip("botocore.exceptions")
    pytest.importorskip("boto3")
    store_goes_away(exceptions.EndpointConnectionError(endpoint_url="http://127.0.0.1:9"))
    with pytest.raises(RegistryError, match=r"127\.0\.0\.1:9.*same command again"):
        register(workspace, **NAMES)


@pytest.mark.parametrize("weight", [1, 2])
def test_what_a_killed_registration_left_open_the_next_one_of_the_profile_closes(
    workspace, registry, store_goes_away, monkeypatch, weight
):
    """Killed, or without a registry that answers, it cannot even close what it began."""
    store_goes_away(KeyboardInterrupt(), all_of_it=True)
    with pytest.raises(KeyboardInterrupt):
        register(workspace, **NAMES)
    monkeypatch.undo()
    assert models_and_runs(registry) == (["PENDING"], ["RUNNING"])
    register(write_all(workspace, weight=weight), **NAMES)
    assert models_and_runs(registry) == (["FAILED", "READY"], ["FINISHED", "KILLED"])
    assert registry.model(NAMES["name"]).aliases == {CANDIDATE: "1"}


def test_a_failure_that_a_kill_left_open_is_closed_by_the_next_run_whatever_comes_of_it(
    workspace, registry, monkeypatch
):
    def killed(*_, **__):
        raise KeyboardInterrupt

    for go_on in (
        lambda: record_failure(workspace, RuntimeError("again")),
        lambda: register(workspace, **NAMES),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(Registry, "end_run", killed)
            with pytest.raises(KeyboardInterrupt):
                record_failure(workspace, RuntimeError("train: no loss"))
        assert "RUNNING" in failures(registry)
        go_on()
        assert set(failures(registry)) == {"FAILED"}


def test_what_others_work_on_stays_open(workspace, registry):
    home = registry.experiment(NAMES["experiment"])
    other = registry.begin_run(home, "another", {"profile": "other", "adapter_digest": "0"})
    trial = registry.begin_run(home, "a trial", {"profile": "demo"})
    register(workspace, **NAMES)
    states = [registry._client.get_run(run).info.status for run in (other, trial)]
    assert states == ["RUNNING", "RUNNING"]
