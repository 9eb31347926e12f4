"""A repository of its own with the real stage graph, whose stages take no time."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from components.chain import TABLE, declared_files, dvc_file, dvc_name, split_dvc_name
from components.core.documents import parse_yaml
from components.core.paths import Workspace
from components.inputs import keep_folder
from flows.cli.commands import app
from flows.runner.environment import stage_environment
from tests.profiles import plain_text
from tests.releases import write_result
from tests.root import ROOT

PROFILE = "demo"
# Every stage does what its file in behaviour/ says, which is one of its dependencies. A result is
# made once in a session: where what it is made of is the same, it is copied, which imports nothing.
# No seed is among that.
WORK = r"""
import json, os, shutil, subprocess, sys, time
from hashlib import sha256
from pathlib import Path

stage, _, profile = os.environ["DVC_STAGE"].replace("prepare-", "prepare@").partition("@")
behaviour = Path(f"behaviour/{stage}").read_text().strip()
word, _, rest = behaviour.partition(" ")
print(f"working on {stage}", flush=True)
if stage == "inputs":
    from components.chain import TABLE
    from components.inputs import write_inputs
    from components.core.paths import fingerprint_file
    from components.core.storage import write_text
    write_inputs(Path.cwd())
    for name in TABLE if rest else ():
        write_text(fingerprint_file(Path.cwd(), name), behaviour + chr(10))
    sys.exit()
if word == "fail":
    print(f"{stage}: {rest}", file=sys.stderr)
    sys.exit(2 if "key" in rest else 1)
if word == "crash":
    raise RuntimeError(rest)
if word == "die":
    os.kill(os.getpid(), 9)
prepared, artifacts = Path("data/prepared", profile), Path("artifacts", profile)
folder = prepared if stage == "prepare" else artifacts / stage
if word == "sleep":
    from components.core.storage import atomic_folder
    # Launchers such as torchrun put their processes into sessions of their own.
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    Path("sleeping").write_text(str(os.getpid()))
    with atomic_folder(folder.absolute()):
        time.sleep(600)
weight = float(rest) if word == "weight" else 1.0
accepted = word != "reject"
settings = json.loads(Path("artifacts/.inputs/settings", f"{profile}.json").read_text())
settings.pop("seed")
made_of = sha256(json.dumps([stage, weight, accepted, settings]).encode())
places = (prepared, artifacts, Path("mlflow"), Path("data/champions"))
for file in sorted(file for place in places for file in place.rglob("*") if file.is_file()):
    if "runs" not in file.parts:
        made_of.update(f"{file} ".encode() + file.read_bytes())
made = Path(os.environ["MADE"], made_of.hexdigest())
if made.is_dir():
    shutil.copytree(made, folder, dirs_exist_ok=True)
else:
    from components.core.paths import Workspace
    from tests.releases import write_result
    write_result(stage, Workspace(Path.cwd(), profile), accepted=accepted, weight=weight)
    if stage != "baselines":  # which writes a record beside its result
        shutil.copytree(folder, made)
"""
# What a stage `prepare` does besides where training repeats prompts of the suite `harmful`.
LEAK = """
if stage == "prepare":
    from components.core.result import RateFigure
    from components.prepare.result import SuiteSet
    prompts = SuiteSet.load(folder)
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
    tiny = declared_files(ROOT)["tiny"]
    graph = parse_yaml(dvc_file({PROFILE: tiny}))
    (root / "behaviour").mkdir()
    for name, stage in graph["stages"].items():
        behaviour = root / "behaviour" / split_dvc_name(name)[0]
        behaviour.write_text("do")
        body = stage.get("do", stage)
        inputs = [
            d for d in body["deps"] if d.startswith(("data/", "artifacts/", "profiles", "${"))
        ]
        body |= {"deps": [f"behaviour/{behaviour.name}", *inputs], "cmd": "python work.py"}
    (root / "dvc.yaml").write_text(json.dumps(graph))
    (root / "work.py").write_text(WORK)
    (root / "components").symlink_to(ROOT / "components")  # the code that decides the results
    (root / "own").mkdir()
    (root / "own" / "prompts.jsonl").write_text("{}\n")
    (root / "params.yaml").write_text(
        f"# kept\nprofiles:\n  {PROFILE}: {{checkpoints: own}}\ncompared: {{}}\nattacked: {{}}\n"
    )
    profile = plain_text().replace("tiny-safety", "demo-safety")
    (root / "profiles").mkdir()
    (root / "profiles" / f"{PROFILE}.yaml").write_text(profile)
    (root / "mlflow").mkdir()
    shutil.copy(ROOT / "mlflow" / "model_card.md.j2", root / "mlflow")
    shutil.copytree(ROOT / "mlflow" / "policies", root / "mlflow" / "policies")
    for folder in ("embedded", "suites", "calibration", "labels", "withstood"):
        shutil.copytree(ROOT / "data" / folder, root / "data" / folder)
    keep_folder(Workspace(root, PROFILE).champion)
    shutil.copytree(ROOT / ".dvc", root / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache"))
    shutil.copy(ROOT / ".dvcignore", root)
    shutil.copy(ROOT / ".gitignore", root)
    subprocess.run(["git", "init", "-q", root], check=True)
    dvc(root, "repro", "-q", "inputs")
    return root


def dvc(root: Path, *words: str) -> None:
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
    dvc(root, "commit", "-q", "--force", *(dvc_name(stage, PROFILE) for stage in TABLE))
    return root


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all embedded servers: making its database takes seconds."""
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prefect server of its own: an embedded one costs each run seconds."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("server")
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port), "--no-ui"]
    # Blocks, which no flow here uses, are registered in seconds.
    own = {"PREFECT_HOME": str(home), "PREFECT_API_BLOCKS_REGISTER_ON_START": "false"}
    environment = {**os.environ, **own}
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}/api"
    for _ in range(600):
        with suppress(httpx2.TransportError):
            if httpx2.get(f"{address}/health").status_code == 200:
                break
        time.sleep(0.2)
    yield address
    process.terminate()
    process.wait(30)


Copy = Callable[[Path], Workspace]


@pytest.fixture
def copy_of(
    prefect_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Path
) -> Copy:
    """A function that copies a repository, whose child processes find these packages."""

    def copy(source: Path) -> Workspace:
        root = tmp_path / "repository"
        shutil.copytree(source, root, symlinks=True)
        for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.setenv("PREFECT_HOME", str(prefect_home))
        monkeypatch.setenv("SAFEREACT_ROOT", str(root))
        monkeypatch.setenv("MADE", str(made))
        return Workspace(root, PROFILE)

    return copy


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of stages that ran, by what they are made of."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture
def project(empty_project: Path, copy_of: Copy) -> Workspace:
    """A fresh copy of the repository."""
    return copy_of(empty_project)


@pytest.fixture
def finished(finished_project: Path, copy_of: Copy) -> Workspace:
    """The same after all stages."""
    return copy_of(finished_project)


def behave(workspace: Workspace, stage: str, what: str) -> None:
    """Let a stage do something else; `do` is the ordinary thing."""
    (workspace.root / "behaviour" / stage).write_text(what)


def wait_for_stage(workspace: Workspace, process: subprocess.Popen) -> None:
    """Return once the stage that is to `sleep` does, in a command that has been started."""
    mark, latest = workspace.root / "sleeping", time.monotonic() + 300
    while not (mark.is_file() and mark.read_text()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < latest, "the stage did not begin"
        time.sleep(0.05)


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
