"""A finished profile beside an empty registry, and a real tracking server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.core.paths import Workspace
from components.registry.mlflow_registry import Registry
from tests.releases import finished_profile
from tests.tracking import TrackingServer, serve


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedded store with its tables, made once: that takes seconds."""
    root = tmp_path_factory.mktemp("store")
    Registry(root).experiment("other")
    return root / "mlruns"


@pytest.fixture
def workspace(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A profile whose stages have run, beside an empty registry."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(empty_store, tmp_path / "mlruns")
    return finished_profile(tmp_path)


@pytest.fixture(scope="session")
def tracking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    """A real tracking server with basic authentication; one for all tests."""
    with serve(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def registry(workspace: Workspace) -> Registry:
    return Registry(workspace.root)
