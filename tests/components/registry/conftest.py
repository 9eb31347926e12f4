"""Profiles whose stages have run beside a registry, in states that many tests begin with.

MLflow takes seconds to migrate a store and to check one that it has not opened yet. So all tests
have one embedded store, at one place. A state is made once and brought back for each test; the
database is overwritten, not replaced, since MLflow keeps it open.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from components.core.paths import Workspace
from components.registry.mlflow_registry import Registry
from components.registry.registration import register
from components.registry.release import Release, gather_release
from tests.releases import NAMES, finished_profile, write_all
from tests.tracking import TrackingServer, serve

DATABASE = Path("mlruns") / "mlflow.db"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a profile whose stages have run, to be copied."""
    return finished_profile(tmp_path_factory.mktemp("finished")).root


@pytest.fixture(scope="session")
def release(finished: Path) -> Release:
    """What would be registered of it."""
    return gather_release(Workspace(finished, "demo"))


def _copy_database(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


class States:
    """States of one root, by name."""

    def __init__(self, root: Path, states: Path) -> None:
        self.root, self._states = root, states

    def begin(self, name: str, make: Callable[[], object]) -> Workspace:
        """Bring the root into the state that `make` makes of the one before."""
        stored = self._states / name
        if stored.is_dir():
            self._clear()
            shutil.copytree(stored, self.root, dirs_exist_ok=True, ignore=_without_database)
            _copy_database(stored / DATABASE, self.root / DATABASE)
        else:
            make()
            shutil.copytree(self.root, stored, ignore=_without_database)
            _copy_database(self.root / DATABASE, stored / DATABASE)
        return Workspace(self.root, "demo")

    def _clear(self) -> None:
        for path in [*self.root.iterdir(), *(self.root / DATABASE.parent).iterdir()]:
            if path.name in DATABASE.parts:
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _without_database(_: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(DATABASE.name)]


@pytest.fixture(scope="session")
def states(tmp_path_factory: pytest.TempPathFactory) -> States:
    return States(tmp_path_factory.mktemp("root"), tmp_path_factory.mktemp("states"))


@pytest.fixture
def workspace(states: States, finished: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A profile whose stages have run, beside an empty registry."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def make() -> None:
        Registry(states.root).experiment("other")
        shutil.copytree(finished, states.root, dirs_exist_ok=True)

    return states.begin("finished", make)


@pytest.fixture
def registered(states: States, workspace: Workspace) -> Workspace:
    """The same, its adapter registered as version 1."""
    return states.begin("registered", lambda: register(workspace, **NAMES))


@pytest.fixture
def three_versions(states: States, registered: Workspace) -> Workspace:
    """Versions 1 to 3 of adapters of these weights."""

    def make() -> None:
        for weight in (2, 3):
            register(write_all(registered, weight=weight), **NAMES)

    return states.begin("three versions", make)


@pytest.fixture(scope="session")
def tracking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    """A real tracking server with basic authentication; one for all tests."""
    with serve(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def registry(workspace: Workspace) -> Registry:
    return Registry(workspace.root)
