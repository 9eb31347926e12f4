"""Registration, promotion, rollback, pull and a search's runs on a real tracking server."""

from __future__ import annotations

import itertools

import pytest

from components.release.promotion import promote, pull, rollback, status
from components.release.registration import register
from components.release.registry import CANDIDATE, CHAMPION, Registry
from components.storage import digest_folder
from tests.components.release.conftest import finished_profile
from tests.releases import write_all

_NUMBERS = itertools.count(1)


@pytest.fixture
def names() -> dict[str, str]:
    """A registered model and an experiment that no other test of this server has."""
    number = next(_NUMBERS)
    return {"name": f"demo-{number}", "experiment": f"safereact-{number}"}


@pytest.fixture
def workspace(tmp_path, tracking_server, monkeypatch):
    """A profile whose stages have run, with the server in its environment."""
    for name, value in tracking_server.environment().items():
        monkeypatch.setenv(name, value)
    return finished_profile(tmp_path)


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
    assert digest_folder(tmp_path / "pulled") == champion.adapter
    assert rollback(registry, name, by="bob", why="complaints").version == "1"
    assert registry.model(name).aliases == {CHAMPION: "1", CANDIDATE: "2"}
