"""A repository of its own with the real stage graph, whose stages take no time."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.chain import TABLE
from components.core.documents import read_yaml
from components.core.paths import Workspace
from flows.cli.commands import app
from flows.runner.environment import stage_environment
from flows.runner.registry import keep_folder
from tests.releases import write_result
from tests.root import ROOT

PROFILE = "demo"
# Every stage does what its file in behaviour/ says, which is one of its dependencies.
WORK = r"""
import os, subprocess, sys, time
from pathlib import Path
from components.chain import TABLE
from components.inputs import write_inputs
from components.core.storage import atomic_folder, write_text
from components.core.paths import Workspace, find_root, fingerprint_file
from tests.releases import write_result

stage, _, profile = os.environ["DVC_STAGE"].partition("@")
workspace = Workspace(find_root(), profile)
behaviour = Path(f"behaviour/{stage}").read_text().strip()
word, _, rest = behaviour.partition(" ")
print(f"working on {stage}", flush=True)
if stage == "inputs":
    write_inputs(workspace.root)
    for name in TABLE if rest else ():
        write_text(fingerprint_file(workspace.root, name), behaviour + chr(10))
    sys.exit()
if word == "fail":
    print(f"{stage}: {rest}", file=sys.stderr)
    sys.exit(2 if "key" in rest else 1)
if word == "crash":
    raise RuntimeError(rest)
if word == "die":
    os.kill(os.getpid(), 9)
if word == "sleep":
    # Launchers such as torchrun put their processes into sessions of their own.
    subprocess.Popen(["sleep", "60"], start_new_session=True)
    Path("sleeping").write_text(str(os.getpid()))
    with atomic_folder(workspace.stage(stage)):
        time.sleep(60)
weight = float(rest) if word == "weight" else 1.0
write_result(stage, workspace, accepted=word != "reject", weight=weight)
"""
# What a stage `prepare` does besides where training repeats prompts of the suite `harmful`.
LEAK = """
if stage == "prepare":
    from components.core.result import RateFigure
    from components.prepare.result import SuiteSet
    prompts = SuiteSet.load(workspace.stage(stage))
    found = {"before": RateFigure.of(3, 100, 0.95), "dropped": 5}
    leaks = tuple(
        figure.model_copy(update=found)
        if (figure.suite, figure.measure) == ("harmful", "run") else figure
        for figure in prompts.leaks
    )
    prompts.model_copy(update={"leaks": leaks}).save(prompts.folder)
"""


@pytest.fixture(scope="session")
def empty_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository before anything ran but `inputs`."""
    root = tmp_path_factory.mktemp("repository")
    graph = read_yaml(ROOT / "dvc.yaml")
    (root / "behaviour").mkdir()
    for name, stage in graph["stages"].items():
        (root / "behaviour" / name).write_text("do")
        body = stage.get("do", stage)
        inputs = [
            d for d in body["deps"] if d.startswith(("data/", "artifacts/", "profiles", "${"))
        ]
        body |= {"deps": [f"behaviour/{name}", *inputs], "cmd": "python work.py"}
    (root / "dvc.yaml").write_text(json.dumps(graph))
    (root / "work.py").write_text(WORK)
    (root / "components").symlink_to(ROOT / "components")  # the code that decides the results
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
    _dvc(root, "repro", "-q", "inputs")
    return root


def _dvc(root: Path, *words: str) -> None:
    ours = {**stage_environment(), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", "dvc", *words], cwd=root, env=ours, check=True)


@pytest.fixture(scope="session")
def finished_project(empty_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository after all stages, those of the studies among them: their results are written
    here, and DVC takes note of them in one process."""
    root = tmp_path_factory.mktemp("finished") / "repository"
    shutil.copytree(empty_project, root, symlinks=True)
    parameters = root / "params.yaml"
    lists = "".join(f"{key}: {{{PROFILE}: {{}}}}\n" for key in ("compared", "attacked"))
    parameters.write_text(parameters.read_text().replace("compared: {}\nattacked: {}\n", lists))
    for stage in TABLE:
        write_result(stage, Workspace(root, PROFILE))
    _dvc(root, "commit", "-q", "--force", *(f"{stage}@{PROFILE}" for stage in TABLE))
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
    return _copied(empty_project, prefect_home, tmp_path, monkeypatch)


@pytest.fixture
def finished(
    finished_project: Path, prefect_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """The same after all stages."""
    return _copied(finished_project, prefect_home, tmp_path, monkeypatch)


def _copied(
    source: Path, prefect_home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    root = folder / "repository"
    shutil.copytree(source, root, symlinks=True)
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
    return "† harmful: training as it came repeated 3 of 100 prompts; 5 training rows were dropped"


def safereact(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person would, off a terminal."""
    command = [sys.executable, "-m", "flows.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def invoke(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command that trains nothing in this process, which is quicker by seconds."""
    result = CliRunner().invoke(app, words)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return subprocess.CompletedProcess(words, result.exit_code, result.stdout, result.stderr)
