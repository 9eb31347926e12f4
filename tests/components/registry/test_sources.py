"""What a version keeps beside data and models, and how it is put back into a repository."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from components.chain import DVC_FILE, dvc_file
from components.core.documents import read_yaml
from components.core.errors import EvidenceError, RegistryError
from components.core.paths import ADAPTER, POLICIES, Workspace
from components.core.storage import digest_folder, write_text
from components.evaluate.result import Champion
from components.registry.delivery import fetch_champion
from components.registry.mlflow_registry import EVIDENCE, Registry
from components.registry.promotion import promote
from components.registry.registration import register
from components.registry.sources import SOURCES, check_restored, put_back
from components.registry.verification import verify_version
from tests.releases import NAMES, write_all

NAME = NAMES["name"]


HERE = {DVC_FILE, "params.yaml"}


@pytest.fixture
def elsewhere(tmp_path) -> Path:
    """Another repository of the same code, with nothing in it."""
    write_text(tmp_path / "elsewhere" / DVC_FILE, dvc_file({}))
    write_text(tmp_path / "elsewhere" / "params.yaml", "profiles: {}\n")
    return tmp_path / "elsewhere"


def put(workspace: Workspace, root: Path, number: str, files: Path) -> Workspace:
    """Put a version of the registry beside `workspace` back into `root`."""
    registry = Registry(workspace.root)
    version = registry.version(NAME, number)
    verify_version(registry, version, files)
    registry.root = root
    return put_back(registry, version, files)


def test_profile_policy_and_lock_are_kept_and_put_back(registered, elsewhere, tmp_path):
    back = put(registered, elsewhere, "1", tmp_path / "files")
    for path in (registered.profile_file, registered.root / POLICIES / "default.yaml"):
        assert (elsewhere / path.relative_to(registered.root)).read_bytes() == path.read_bytes()
    assert read_yaml(back.lock) == read_yaml(registered.lock)
    again = put(registered, elsewhere, "1", tmp_path / "again")
    assert read_yaml(again.lock) == read_yaml(registered.lock)


def test_other_profiles_keep_their_place_in_the_lock(registered, elsewhere, tmp_path):
    write_text(elsewhere / "dvc.lock", "schema: '2.0'\nstages:\n  gate@other: {cmd: x}\n")
    stages = read_yaml(put(registered, elsewhere, "1", tmp_path / "files").lock)["stages"]
    assert stages == {"gate@other": {"cmd": "x"}, **read_yaml(registered.lock)["stages"]}


def test_results_of_another_version_are_not_overwritten(registered, elsewhere, tmp_path):
    write_text(elsewhere / "dvc.lock", "schema: '2.0'\nstages:\n  gate@demo: {cmd: x}\n")
    with pytest.raises(EvidenceError, match=r"dvc\.lock \(gate@demo\).*move these away"):
        put(registered, elsewhere, "1", tmp_path / "files")
    assert {path.name for path in elsewhere.iterdir()} == {"dvc.lock", *HERE}


def test_of_a_commit_that_has_it_all_only_profile_policy_and_lock_are_kept(workspace, tmp_path):
    root = workspace.root
    try:
        for words in (["init", "-q"], ["add", "profiles", "mlflow", "data"]):
            subprocess.run(["git", "-C", root, *words], check=True)
        own = ["-c", "user.name=ann", "-c", "user.email=ann@example.org"]
        subprocess.run(["git", "-C", root, *own, "commit", "-qm", "all"], check=True)
        write_text(root / "mlflow" / "overrides" / "other.yaml", "overrides: []\n")
        register(workspace, **NAMES)
    finally:
        shutil.rmtree(root / ".git")
    files = tmp_path / "files"
    registry = Registry(root)
    verify_version(registry, registry.version(NAME, "1"), files)
    kept = files / EVIDENCE / SOURCES
    assert {path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file()} == {
        *("dvc.lock", "profiles/demo.yaml", "mlflow/policies/default.yaml"),
        "mlflow/overrides/other.yaml",
    }


def test_the_champion_that_was_measured_comes_back(registered, registry, elsewhere, tmp_path):
    promote(registry, NAME, by="ann", why="first")
    fetch_champion(registry, NAME, registered.champion, own="")
    register(write_all(registered, weight=2), **NAMES)
    back = put(registered, elsewhere, "2", tmp_path / "files")
    champion = Champion.load(back.champion)
    assert champion.released.version == "1"
    assert digest_folder(back.champion / ADAPTER) == champion.released.digest
    assert digest_folder(back.champion) == digest_folder(registered.champion)


@pytest.mark.parametrize("place", ["components/__init__.py", "dvc.yaml", "mlflow/model_card.md.j2"])
def test_code_is_never_taken_from_a_registry(registered, elsewhere, tmp_path, place):
    registry, files = Registry(registered.root), tmp_path / "files"
    version = registry.version(NAME, "1")
    verify_version(registry, version, files)
    write_text(files / EVIDENCE / SOURCES / place, "raise SystemExit")
    registry.root = elsewhere
    with pytest.raises(EvidenceError, match="no place of settings"):
        put_back(registry, version, files)
    assert {path.name for path in elsewhere.iterdir()} == HERE
    assert (elsewhere / DVC_FILE).read_text() == dvc_file({})


def test_a_version_without_its_sources_says_what_it_lacks(registered, elsewhere, tmp_path):
    registry, files = Registry(registered.root), tmp_path / "files"
    version = registry.version(NAME, "1")
    verify_version(registry, version, files)
    shutil.rmtree(files / EVIDENCE / SOURCES)
    with pytest.raises(RegistryError, match="not registered by `safereact run`"):
        put_back(registry, version, files)


@pytest.mark.parametrize(
    "path", ["evaluate/rows.parquet", "gate/decision.json", "train/adapter/adapter_config.json"]
)
def test_what_was_brought_is_held_against_what_the_version_states(registered, tmp_path, path):
    registry = Registry(registered.root)
    verified = verify_version(registry, registry.version(NAME, "1"), tmp_path)
    check_restored(registered, verified)
    file = registered.root / "artifacts" / "demo" / path
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(EvidenceError, match=f"demo/{path.removesuffix('/adapter_config.json')}"):
        check_restored(registered, verified)
