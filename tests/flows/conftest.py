"""A repository of its own with the real stage graph, whose stages take no time."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.config import read_yaml
from components.workspace import Workspace
from flows.champion import keep_folder

ROOT = Path(__file__).parents[2]
PROFILE = "demo"
# Every stage does what its file in behaviour/ says, which is one of its dependencies.
WORK = """
import os, sys, time
from pathlib import Path
from components.storage import atomic_folder
from components.workspace import Workspace
from tests.releases import write_result

stage, root = sys.argv[1], Path.cwd()
word, _, rest = Path(f"behaviour/{stage}").read_text().strip().partition(" ")
workspace = Workspace(root, sys.argv[2])
print(f"working on {stage}", flush=True)
if word == "fail":
    print(f"{stage}: {rest}", file=sys.stderr)
    sys.exit(2 if "key" in rest else 1)
if word == "crash":
    raise RuntimeError(rest)
if word == "die":
    os.kill(os.getpid(), 9)
if word == "sleep":
    Path("sleeping").write_text(str(os.getpid()))
    with atomic_folder(workspace.stage(stage)):
        time.sleep(60)
weight = float(rest) if word == "weight" else 1.0
write_result(stage, workspace, accepted=word != "reject", weight=weight)
"""
# What a stage `prepare` does besides where training repeats prompts of the suite `harmful`.
LEAK = """
if stage == "prepare":
    from components.results import SuiteSet
    from tests.releases import leak, no_leaks
    prompts = SuiteSet.load(workspace.stage(stage))
    rest = no_leaks(("borderline", "benign", "reasoning"))
    leaks = (leak("harmful", "run", 3, dropped=5), leak("harmful", "copy"), *rest)
    prompts.model_copy(update={"leaks": leaks}).save(prompts.folder)
"""


@pytest.fixture(scope="session")
def empty_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository before anything ran."""
    root = tmp_path_factory.mktemp("repository")
    graph = read_yaml(ROOT / "dvc.yaml")
    (root / "behaviour").mkdir()
    for name, stage in graph["stages"].items():
        (root / "behaviour" / name).write_text("do")
        inputs = [d for d in stage["do"]["deps"] if d.startswith(("data/", "artifacts/", "${"))]
        stage["do"]["deps"] = [f"behaviour/{name}", *inputs]
        stage["do"]["cmd"] = f"python work.py {name} ${{key}}"
    (root / "dvc.yaml").write_text(json.dumps(graph))
    (root / "work.py").write_text(WORK)
    (root / "own").mkdir()
    (root / "own" / "prompts.jsonl").write_text("{}\n")
    (root / "params.yaml").write_text(
        f"# kept\nprofiles:\n  {PROFILE}: {{checkpoints: own, prompts: own}}\n"
        "compared: {}\nattacked: {}\n"
    )
    profile = (ROOT / "profiles" / "tiny.yaml").read_text().replace("tiny-safety", "demo-safety")
    (root / "profiles").mkdir()
    (root / "profiles" / f"{PROFILE}.yaml").write_text(profile)
    (root / "mlflow").mkdir()
    shutil.copy(ROOT / "mlflow" / "model_card.md.j2", root / "mlflow")
    shutil.copytree(ROOT / "mlflow" / "policies", root / "mlflow" / "policies")
    for folder in ("embedded", "suites", "calibration"):
        shutil.copytree(ROOT / "data" / folder, root / "data" / folder)
    keep_folder(Workspace(root, PROFILE).champion)
    shutil.copytree(ROOT / ".dvc", root / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache"))
    shutil.copy(ROOT / ".dvcignore", root)
    shutil.copy(ROOT / ".gitignore", root)
    subprocess.run(["git", "init", "-q", root], check=True)
    return root


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all embedded servers: making its database takes seconds."""
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture
def project(
    empty_project: Path, prefect_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """A fresh copy of the repository, whose child processes find these packages."""
    root = tmp_path / "repository"
    shutil.copytree(empty_project, root)
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PREFECT_HOME", str(prefect_home))
    monkeypatch.setenv("SAFEREACT_ROOT", str(root))
    return Workspace(root, PROFILE)


def behave(workspace: Workspace, stage: str, what: str) -> None:
    """Let a stage do something else; `do` is the ordinary thing."""
    (workspace.root / "behaviour" / stage).write_text(what)


def leak_into_training(workspace: Workspace) -> str:
    """Let training repeat prompts of the suite `harmful`; return what is told of it."""
    work = workspace.root / "work.py"
    work.write_text(work.read_text() + LEAK)
    return "† harmful: training as it came repeated 3 of 300 prompts; 5 training rows were dropped"


def safereact(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person would, off a terminal."""
    command = [sys.executable, "-m", "flows.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)
