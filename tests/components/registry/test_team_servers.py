"""Registration, push and restoration on PostgreSQL and an S3-compatible store, also where the store
goes away in the middle."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from components.core.errors import RegistryError
from components.core.paths import Workspace
from components.registry.delivery import pull
from components.registry.mlflow_registry import CANDIDATE, Registry
from components.registry.promotion import promote
from components.registry.registration import register
from components.registry.status import status
from tests import servers
from tests.components.registry.test_unfinished import models_and_runs
from tests.releases import NAMES, write_all
from tests.servers import Files
from tests.tracking import TrackingServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.random_order(disabled=True),
    pytest.mark.skipif(
        bool(servers.lacking()), reason=f"lacking (CONTRIBUTING.md): {servers.lacking()}"
    ),
]
PATIENCE = 240  # seconds in which a store that is away has to be told; the machine may be busy


@pytest.fixture(scope="module")
def team() -> Iterator[tuple[TrackingServer, Files]]:
    """A database, a store of files, and the tracking server on them."""
    with TemporaryDirectory() as name:  # not below pytest's, which only its own user may enter
        folder = Path(name)
        folder.chmod(0o755)
        database, files = servers.postgres(folder / "database"), servers.files(folder / "files")
        with database as address, files as store:
            store.use("mlflow")
            with servers.team_server(folder / "tracking", address, store) as server:
                yield server, store


@pytest.fixture
def workspace(tmp_path, finished, team, monkeypatch) -> Workspace:
    """A profile whose stages have run, whose registry is the team's."""
    server, _ = team
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return Workspace(shutil.copytree(finished, tmp_path / "repository"), "demo")


def test_a_version_lives_on_the_servers_of_a_team(workspace, tmp_path):
    registry, name = Registry(workspace.root), NAMES["name"]
    assert register(workspace, **NAMES).version == "1"
    assert not register(workspace, **NAMES).new
    promote(registry, name, by="ann", why="first")
    assert pull(registry, name, "champion", tmp_path / "pulled") == "1"
    champion, candidate = status(registry, name)
    assert not champion.problems and candidate.version == "1"


def test_a_store_that_goes_away_is_one_message_and_the_same_command_goes_on(workspace, team):
    """The server answers all the time: it is its store of files that is away."""
    _, store = team
    registry = Registry(workspace.root)
    write_all(workspace, weight=2)
    store.stop()
    begin = time.monotonic()
    with pytest.raises(RegistryError, match="same command again") as caught:
        register(workspace, **NAMES)
    assert time.monotonic() - begin < PATIENCE and "\n" not in str(caught.value)
    models, runs = models_and_runs(registry)
    assert "FAILED" in models and "PENDING" not in models and "RUNNING" not in runs
    store.start()
    assert register(workspace, **NAMES).version == "2"
    assert registry.model(NAMES["name"]).aliases[CANDIDATE] == "2"
    assert "PENDING" not in models_and_runs(registry)[0]
