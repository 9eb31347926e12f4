"""Registration, promotion, rollback, pull and a search's runs on a real tracking server."""

from __future__ import annotations

import itertools
import shutil

import pytest

from components.core.errors import RegistryError
from components.core.paths import Workspace
from components.core.storage import digest_folder
from components.registry.delivery import pull
from components.registry.mlflow_registry import CANDIDATE, CHAMPION, Registry
from components.registry.promotion import promote, rollback
from components.registry.registration import register
from components.registry.search_runs import open_study
from components.registry.status import status
from flows.doctor.findings import State
from flows.doctor.machine import check_servers
from tests.components.registry.test_search_runs import trial_run
from tests.releases import name_model, write_all
from tests.searches import rates

_NUMBERS = itertools.count(1)


@pytest.fixture
def names() -> dict[str, str]:
    """A registered model and an experiment that no other test of this server has."""
    number = next(_NUMBERS)
    return {"name": f"demo-{number}", "experiment": f"safereact-{number}"}


@pytest.fixture
def workspace(tmp_path, finished, tracking_server, monkeypatch, names):
    """A profile whose stages have run, with the server in its environment."""
    for name, value in tracking_server.environment().items():
        monkeypatch.setenv(name, value)
    root = shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return name_model(Workspace(root, "demo"), names["name"])


@pytest.fixture
def registry(workspace) -> Registry:
    return Registry(workspace.root)


def test_an_adapter_goes_through_its_whole_life(workspace, registry, names, tmp_path):
    name = names["name"]
    assert register(workspace, **names).new
    again = register(workspace, **names)
    assert (again.version, again.new) == ("1", False)
    promote(registry, name, by="ann", why="first")
    write_all(workspace, weight=2)
    assert register(workspace, **names).version == "2"
    assert promote(registry, name, by="ann", why="better").previous == "1"
    champion, candidate = status(registry, name)
    assert (champion.version, candidate.version) == ("2", "2")
    assert champion.figures["restored/harmful.refused"] == 0.95
    assert pull(registry, name, CHAMPION, tmp_path / "pulled") == "2"
    (tmp_path / "pulled" / "README.md").unlink()  # the model card
    assert digest_folder(tmp_path / "pulled") == champion.adapter
    assert rollback(registry, name, by="bob", why="complaints").version == "1"
    assert registry.model(name).aliases == {CHAMPION: "1", CANDIDATE: "2"}


def test_refused_credentials_are_named_as_such(workspace, registry, names, monkeypatch):
    register(workspace, **names)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a-wrong-one")
    for use in (
        lambda: register(workspace, **names),
        lambda: promote(registry, names["name"], by="ann", why="first"),
        lambda: status(registry, names["name"]),
    ):
        with pytest.raises(RegistryError, match=r"credentials.*MLFLOW_TRACKING_USERNAME") as caught:
            use()
        assert "a-wrong-one" not in str(caught.value) and "\n" not in str(caught.value)


def test_the_doctor_asks_as_a_run_would(workspace, registry, monkeypatch):
    assert next(check_servers(workspace)).state is State.OK
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a-wrong-one")
    finding = next(check_servers(workspace))
    assert finding.state is State.MISSING and "MLFLOW_TRACKING_USERNAME" in finding.remedy
    assert "a-wrong-one" not in finding.message + finding.remedy


def test_who_may_only_read_is_refused_and_changes_nothing(
    workspace, registry, names, tracking_server, monkeypatch, tmp_path
):
    register(workspace, **names)
    tracking_server.add_user("reader", "reads-only-12345")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "reader")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "reads-only-12345")
    assert pull(registry, names["name"], CANDIDATE, tmp_path / "pulled") == "1"
    with pytest.raises(RegistryError, match=r"forbids this to reader.*permission EDIT"):
        promote(registry, names["name"], by="eve", why="first")
    assert registry.model(names["name"]).aliases == {CANDIDATE: "1"}
    assert registry.claims(registry.oldest_run(names["name"]), "ledger.") == {}


def test_a_claim_is_won_once_and_kept(workspace, registry, names):
    register(workspace, **names)
    run = registry.oldest_run(names["name"])
    assert registry.claim(run, "ledger.000001", "mine")
    assert not registry.claim(run, "ledger.000001", "other")
    assert registry.claims(run, "ledger.") == {"ledger.000001": "mine"}


def test_a_search_has_its_runs(registry, names, tmp_path):
    study = open_study(registry, registry.experiment(names["experiment"]), "demo", "k" * 64)
    for trials in ([trial_run(0)], [trial_run(0), trial_run(1, failure="no memory")]):
        study.add(trials)
    (tmp_path / "trials.json").write_text("{}")
    study.close(rates(2, 97), files=[tmp_path / "trials.json"], tags={"best_trial": "0"})
    assert open_study(registry, study.experiment, "demo", "k" * 64) == study
    runs = registry.runs(study.experiment, {"mlflow.parentRunId": study.id})
    assert sorted(run.tags["trial"] for run in runs) == ["0", "1"]
    assert not any(run.open for run in runs)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("MLFLOW_TRACKING_URI", "http://me:se@cr/et@127.0.0.1:1", "does not answer|failed"),
        ("MLFLOW_TRACKING_URI", "htp://me:secret@host", "allowed are addresses"),
        ("MLFLOW_TRACKING_URI", "mlflow.internal:5000", "allowed are addresses"),
        ("MLFLOW_TRACKING_URI", "file:///tmp/runs", "allowed are addresses"),
        ("MLFLOW_REGISTRY_URI", "http://me:secret@other", "unset MLFLOW_REGISTRY_URI"),
    ],
)
def test_an_address_that_is_none_is_reported_without_its_password(
    tmp_path, monkeypatch, variable, value, message
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(RegistryError, match=message) as caught:
        Registry(tmp_path).find_model("any")
    assert not any(part in str(caught.value) for part in ("secret", "cr/et", "me:"))
    assert list(tmp_path.iterdir()) == []


def test_two_registries_of_one_process_do_not_meet(
    workspace, finished, names, tmp_path, monkeypatch
):
    """MLflow keeps the store of a process in one place, whoever asked for it last."""
    on_server = Registry(workspace.root)
    on_server.experiment(names["experiment"])
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    embedded = tmp_path / "embedded"
    embedded.mkdir()
    register(Workspace(shutil.copytree(finished, embedded, dirs_exist_ok=True), "demo"), **names)
    assert Registry(embedded).numbers(names["name"]) == ["1"]
    assert on_server.find_model(names["name"]) is None
    with pytest.raises(RegistryError, match="no registered model"):
        promote(on_server, names["name"], by="ann", why="first")
    assert Registry(embedded).runs(Registry(embedded).experiment(names["experiment"]), {})
