"""A version is pushed with all that it rests on, and restored in an empty clone, as a year later.

The tests of this module work on one repository; each restores into a clone of its own.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from hashlib import md5
from pathlib import Path

import pytest

from components.chain import dvc_name
from components.core.errors import ConfigError, EvidenceError, RegistryError
from components.core.paths import ROWS, Workspace
from components.registry.audit import audit_version
from components.registry.mlflow_registry import CANDIDATE, Registry
from components.registry.registration import register
from components.registry.sources import PUSHED
from flows.runner.remote import push_version, pushes, restore_version
from tests.chain import dvc, make_repository, safereact
from tests.flows.conftest import PROFILE
from tests.releases import NAMES
from tests.root import ROOT

NAME = NAMES["name"]


def git(root: Path, *words: str) -> str:
    own = ["-c", "user.name=ann", "-c", "user.email=ann@example.org"]
    return subprocess.run(
        ["git", "-C", str(root), *own, *words], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture(scope="module")
def origin(finished_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A repository whose profile nobody has committed, and its adapter, registered."""
    root = tmp_path_factory.mktemp("origin") / "repository"
    shutil.copytree(finished_project, root, symlinks=True)
    git(root, "add", "-A")
    git(root, "rm", "-q", "--cached", "dvc.lock", f"profiles/{PROFILE}.yaml")
    git(root, "commit", "-qm", "all but what people write last")
    workspace = Workspace(root, PROFILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        register(workspace, **NAMES)
    return workspace


@pytest.fixture
def registry_of(origin, monkeypatch) -> Callable[[Path], Registry]:
    """A function that opens, in another repository, the registry of the first."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def opened(root: Path) -> Registry:
        store = origin.root / "mlruns" / "mlflow.db"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}")
        return Registry(root)

    return opened


@pytest.fixture
def remote(origin, registry_of) -> Path:
    """The remote of the repository, a folder, to which its version is pushed."""
    folder = origin.root.parent / "remote"
    if not folder.is_dir():
        with pytest.raises(ConfigError, match=r"no default remote.*dvc remote add --default"):
            pushes(origin, asked=True)
        assert not pushes(origin, asked=False)
        assert dvc(origin.root, "remote", "add", "-q", "-d", "store", str(folder)).returncode == 0
        assert pushes(origin, asked=True)
        registered = register(origin, **NAMES)
        assert state(registry_of(origin.root)) == "no"
        assert push_version(origin, registered) == "pushed: yes"
        git(origin.root, "add", ".dvc")
    return folder


def state(registry: Registry) -> str:
    return registry.version(NAME, "1").tags[PUSHED]


@pytest.fixture
def clone(origin, remote, tmp_path) -> Path:
    """An empty clone of the repository at the version's commit, which knows the remote."""
    root = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(origin.root), str(root))
    shutil.copy(origin.root / ".dvc" / "config", root / ".dvc" / "config")
    return root


def test_an_empty_clone_gets_all_that_a_version_rests_on(origin, registry_of, clone):
    registry = registry_of(clone)
    assert not (clone / "profiles" / f"{PROFILE}.yaml").exists()
    before = dict(audit_version(registry, NAME, CANDIDATE))
    assert f"restore {NAME}@1" in before["rows"] and "not here" in before["policy"]
    restored = restore_version(registry, NAME, CANDIDATE)
    assert restored.stale == []
    found = dict(audit_version(registry, NAME, CANDIDATE))
    assert found["rows"] == "every figure counted again"
    assert f"that of {PROFILE} now" in found["policy"]
    stages = [dvc_name(stage, PROFILE) for stage in ("prepare", "train", "gate", "report")]
    assert "up to date" in dvc(clone, "status", *stages).stdout
    (clone / "artifacts" / PROFILE / "evaluate" / ROWS).unlink()  # as a kill leaves it
    assert restore_version(registry, NAME, "1").stale == []


@pytest.mark.slow  # clones and remotes
def test_what_differs_is_named_and_stays(registry_of, clone):
    profile = clone / "profiles" / f"{PROFILE}.yaml"
    profile.parent.mkdir(exist_ok=True)
    profile.write_text("seed: 7\n")
    (clone / "artifacts" / PROFILE / "train").mkdir(parents=True)
    with pytest.raises(EvidenceError, match=rf"profiles/{PROFILE}\.yaml, artifacts/.*/train.*away"):
        restore_version(registry_of(clone), NAME, "1")
    assert profile.read_text() == "seed: 7\n" and not (clone / "dvc.lock").exists()


@pytest.mark.slow  # clones and remotes
def test_another_commit_is_told_which_one_to_check_out(origin, registry_of, clone):
    commit = git(origin.root, "rev-parse", "HEAD").strip()
    (clone / "params.yaml").write_text((clone / "params.yaml").read_text() + "# more\n")
    git(clone, "commit", "-qam", "another")
    with pytest.raises(EvidenceError, match=rf"git checkout {commit}") as caught:
        restore_version(registry_of(clone), NAME, "1")
    assert "differs in params.yaml" in str(caught.value)
    assert not (clone / "dvc.lock").exists()


@pytest.mark.slow  # clones and remotes
def test_a_commit_that_is_not_here_has_to_be_fetched(origin, registry_of, clone):
    registry, commit = registry_of(clone), git(origin.root, "rev-parse", "HEAD").strip()
    version = registry.version(NAME, "1")
    registry.set_version_tag(version, "git_commit", "0" * 40)
    try:
        with pytest.raises(EvidenceError, match=r"does not have; `git fetch` first"):
            restore_version(registry, NAME, "1")
    finally:
        registry.set_version_tag(version, "git_commit", commit)


@pytest.mark.parametrize("harm", ["gone", "changed"])
def test_a_remote_that_lacks_or_changed_a_file_is_said(origin, registry_of, clone, remote, harm):
    digest = md5((origin.stage("evaluate") / ROWS).read_bytes()).hexdigest()
    rows = remote / "files" / "md5" / digest[:2] / digest[2:]
    kept = rows.read_bytes()
    rows.chmod(0o600)
    rows.unlink() if harm == "gone" else rows.write_bytes(b"other rows")
    try:
        kind, message = {
            "gone": (RegistryError, rf"did not come whole \(tag {PUSHED} = yes.*--push"),
            "changed": (EvidenceError, rf"evaluate/{ROWS}: not what {NAME} version 1 states"),
        }[harm]
        with pytest.raises(kind, match=message):
            restore_version(registry_of(clone), NAME, "1")
    finally:
        rows.write_bytes(kept)


@pytest.mark.slow  # clones and remotes
def test_a_push_that_fails_leaves_a_version_that_says_so_and_goes_on(origin, remote, registry_of):
    registry = registry_of(origin.root)
    away = remote.rename(remote.with_name("away"))
    remote.write_text("no folder")
    registered = register(origin, **NAMES)
    with pytest.raises(RegistryError, match=rf"{NAME} version 1 is registered and not pushed: "):
        push_version(origin, registered)
    assert state(registry) == "no"
    remote.unlink()
    away.rename(remote)
    assert push_version(origin, registered) == "pushed: yes"
    assert state(registry) == "yes"


def cached(root: Path, digest: str) -> Path:
    """Return a file's place in DVC's cache, or in its remote."""
    (found,) = root.rglob(f"{digest[:2]}/{digest[2:]}")
    return found


@pytest.mark.parametrize("where", ["remote", "remote and cache"])
def test_a_file_that_the_remote_lost_is_pushed_again_or_missed(origin, remote, registry_of, where):
    """DVC takes it to be there as long as the list of its folder's files is."""
    registry, registered = registry_of(origin.root), register(origin, **NAMES)
    digest = md5((origin.stage("evaluate") / ROWS).read_bytes()).hexdigest()
    places = [cached(remote, digest), cached(origin.root / ".dvc" / "cache", digest)]
    lost = {place: place.read_bytes() for place in places[: 1 + ("cache" in where)]}
    for place in lost:
        place.chmod(0o600)
        place.unlink()
    try:
        if "cache" in where:
            with pytest.raises(RegistryError, match=rf"not pushed: DVC's remote lacks .*{ROWS}"):
                push_version(origin, registered)
            assert state(registry) == "no"
        else:
            assert push_version(origin, registered) == "pushed: yes"
            assert places[0].read_bytes() == lost[places[0]]
    finally:
        for place, content in lost.items():
            place.write_bytes(content)
    assert push_version(origin, registered) == "pushed: yes" and state(registry) == "yes"


@pytest.mark.slow  # clones and remotes
def test_what_neither_git_nor_dvc_keeps_is_named(origin, remote, registry_of):
    registry = registry_of(origin.root)
    git(origin.root, "rm", "-rq", "--cached", "own")
    try:
        done = push_version(origin, register(origin, **NAMES))
        assert done.startswith("pushed: yes, without own; ")
        assert state(registry) == "yes, without own"
    finally:
        git(origin.root, "add", "own")


def test_what_dvc_add_keeps_is_pushed_restored_and_compared(
    finished_project, tmp_path, monkeypatch
):
    """Own prompts and checkpoints, which no stage writes: a changed copy of them is named, and the
    remedy that is named holds."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    root, clone, kept = (tmp_path / name for name in ("origin", "clone", "remote"))
    shutil.copytree(finished_project, root, symlinks=True)
    assert dvc(root, "add", "-q", "own").returncode == 0
    assert dvc(root, "remote", "add", "-q", "-d", "store", str(kept)).returncode == 0
    git(root, "add", "-A")
    git(root, "commit", "-qm", "own prompts are with DVC")
    assert not git(root, "ls-files", "own")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlruns' / 'mlflow.db'}")
    workspace = Workspace(root, PROFILE)
    assert push_version(workspace, register(workspace, **NAMES)) == "pushed: yes"
    git(tmp_path, "clone", "-q", str(root), str(clone))
    own = clone / "own" / "prompts.jsonl"
    content = (root / "own" / own.name).read_bytes()
    digest = md5(content).hexdigest()
    copy = cached(kept, digest)
    copy.chmod(0o600)
    copy.write_bytes(b"other prompts")
    with pytest.raises(EvidenceError, match=rf"own/{own.name}: not what {NAME} version 1 states"):
        restore_version(Registry(clone), NAME, "1")
    assert own.read_bytes() == b"other prompts"
    for place in (own, copy, cached(clone / ".dvc" / "cache", digest)):
        place.unlink()
    assert push_version(workspace, register(workspace, **NAMES)) == "pushed: yes"
    assert restore_version(Registry(clone), NAME, "1").stale == []
    assert own.read_bytes() == content


@pytest.mark.slow
def test_the_whole_way_on_a_real_chain(tmp_path):
    """Run and push here, restore and audit in a clone, by the command line alone."""
    root, clone = make_repository(tmp_path / "one"), tmp_path / "two"
    assert dvc(root, "remote", "add", "-q", "-d", "store", str(tmp_path / "remote")).returncode == 0
    git(root, "add", "-A")
    git(root, "commit", "-qm", "all")
    done = safereact(root, "run", "--profile", "mini", "--push")
    assert done.returncode == 0 and "pushed: yes" in done.stderr + done.stdout, done.stderr
    git(tmp_path, "clone", "-q", str(root), str(clone))
    shared = {"MLFLOW_TRACKING_URI": f"sqlite:///{root / 'mlruns' / 'mlflow.db'}"}
    done = safereact(clone, "restore", "mini-safety@candidate", **shared)
    assert done.returncode == 0 and "every stage is up to date" in done.stdout, done.stderr
    done = safereact(clone, "audit", "mini-safety@candidate", **shared)
    assert done.returncode == 0 and "every figure counted again" in done.stdout, done.stderr
    assert "up to date" in dvc(clone, "status").stdout
    again = safereact(clone, "run", "--profile", "mini", "--push", **shared)
    assert again.returncode == 0 and "registered already" in again.stdout, again.stderr
