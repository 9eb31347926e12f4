"""An adapter with files, and evidence of it that the default policy accepts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.core.paths import POLICIES, Workspace
from components.core.storage import digest_folder
from components.prepare.result import SuiteSet
from components.registry.mlflow_registry import Registry
from tests.components.gate.cases import ROOT, SUITES, evidence_of
from tests.evidence import DATA, make_models, no_leaks, save_adapter
from tests.releases import write_all
from tests.tracking import TrackingServer, serve


@pytest.fixture(scope="package")
def models():
    """Two checkpoints that are nowhere: the gate compares their digests."""
    return make_models()


@pytest.fixture(scope="package")
def prompts():
    """A prepared set without its table: the gate looks at its digest and its leaks."""
    return SuiteSet(
        digest_of_prompts=DATA,
        sources=(),
        counts={},
        expectations=0,
        overlap={},
        leaks=no_leaks(SUITES),
    )


@pytest.fixture(scope="package")
def adapter(tmp_path_factory, models, prompts):
    folder = tmp_path_factory.mktemp("train")
    for name in ("adapter", "baseline"):
        (folder / name).mkdir()
        (folder / name / "adapter_model.safetensors").write_text(name)
    digests = (digest_folder(folder / "adapter"), digest_folder(folder / "baseline"))
    return save_adapter(folder, digests, models.post_trained, data=prompts.digest_of_prompts)


@pytest.fixture
def good(adapter):
    return evidence_of(adapter)


@pytest.fixture(scope="package")
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


def finished_profile(root: Path) -> Workspace:
    """Write a profile below `root` whose stages have run."""
    (root / "mlflow").mkdir()
    shutil.copy(ROOT / "mlflow" / "model_card.md.j2", root / "mlflow")
    shutil.copytree(ROOT / "mlflow" / "policies", root / POLICIES)
    (root / "profiles").mkdir()
    shutil.copy(ROOT / "profiles" / "tiny.yaml", root / "profiles" / "demo.yaml")
    return write_all(Workspace(root, "demo"))


@pytest.fixture(scope="session")
def tracking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    """A real tracking server with basic authentication; one for all tests."""
    with serve(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def registry(workspace: Workspace) -> Registry:
    return Registry(workspace.root)
