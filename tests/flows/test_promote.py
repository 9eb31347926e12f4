"""Promotion with approval, and the deployments, on a real Prefect server."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from prefect.deployments import run_deployment

from components.core.documents import read_yaml
from components.core.errors import RegistryError
from components.core.paths import Workspace
from components.registry.mlflow_registry import SIGNATURES, Registry
from components.registry.registration import register
from flows.deploy import SILENCE
from flows.runner.run_log import warnings_in_run_log
from tests.components.registry.test_signatures import make_key
from tests.flows.conftest import ROOT, behave, wait_for_stage
from tests.releases import NAMES, write_all

PREFECT = str(Path(sys.executable).with_name("prefect"))


def test_approval_without_a_server_points_to_the_shell(project: Workspace):
    from flows.promote import promote

    with pytest.raises(RegistryError, match="safereact promote demo-safety --by WHO --why WHY"):
        promote.fn("demo-safety")


def test_the_deployments_name_flows_that_exist_and_no_machine():
    document = read_yaml(ROOT / "prefect.yaml")
    for deployment in document["deployments"]:
        path, _, function = deployment["entrypoint"].partition(":")
        assert f"def {function}(" in (ROOT / path).read_text()
    directory = document["pull"][0]["prefect.deployments.steps.set_working_directory"]["directory"]
    assert directory == "{{ $SAFEREACT_ROOT }}"


def test_the_form_and_the_log_of_a_run_tell_of_a_damaged_signature(
    project: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
):
    """Of another version than the one that is promoted, so that the form alone does not show it."""
    import flows.promote as module

    for weight in (1, 2):
        register(write_all(project, weight=weight), **NAMES)
    _, public = make_key(tmp_path / "keys", "ann")
    keys = project.root / "mlflow" / "keys"
    keys.mkdir(parents=True, exist_ok=True)
    shutil.copy(public, keys)
    registry, damaged = Registry(project.root), tmp_path / "other.json"
    damaged.write_text("{")
    registry.add_file(registry.version(NAMES["name"], "1"), damaged, SIGNATURES)
    told = "version 1: a signature is there and cannot be read"
    shown = []
    said = SimpleNamespace(approve=True, by="ann", why="looks good")
    monkeypatch.setenv("SAFEREACT_ROOT", str(project.root))
    monkeypatch.setattr(module, "PREFECT_API_URL", SimpleNamespace(value=lambda: "a server"))
    monkeypatch.setattr(module, "approval_form", shown.append)
    monkeypatch.setattr(module, "pause_flow_run", lambda **_: said)
    for place in ("flows.promote", "flows.runner.run_log"):
        run_log = logging.getLogger("the log of the run")
        monkeypatch.setattr(f"{place}.get_run_logger", lambda log=run_log: log)
    module.promote.fn(NAMES["name"], "2")
    assert told in shown[0]
    logged = [one.getMessage() for one in caplog.records if one.name == "the log of the run"]
    assert any(one.startswith(told) for one in logged)


def test_every_flow_has_warnings_in_its_log():
    for deployment in read_yaml(ROOT / "prefect.yaml")["deployments"]:
        source = (ROOT / deployment["entrypoint"].partition(":")[0]).read_text()
        assert "with warnings_in_run_log()" in source or ", warnings_in_run_log()" in source


def test_a_warning_outside_of_a_run_has_no_log_to_go_to():
    with warnings_in_run_log():
        logging.getLogger("components").warning("nobody runs")


@pytest.fixture
def server(
    project: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workspace]:
    """A Prefect server on a free port, to which this repository is deployed, and nothing else."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    shutil.copytree(ROOT / "flows", project.root / "flows")
    text = (ROOT / "prefect.yaml").read_text()
    text = text.replace("profile: tiny", "profile: demo").replace("tiny-safety", "demo-safety")
    (project.root / "prefect.yaml").write_text(text)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/api"
    monkeypatch.setenv("PREFECT_API_URL", address)
    from prefect.settings import PREFECT_API_URL, temporary_settings

    process = subprocess.Popen(
        [PREFECT, "server", "start", "--no-ui", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for_server(f"{address}/health")
        with temporary_settings({PREFECT_API_URL: address}):
            from flows.deploy import deploy

            deploy(project.root)
            yield project
    finally:
        process.terminate()
        process.wait(30)


def wait_for_server(url: str) -> None:
    import httpx2

    for _ in range(240):
        try:
            if httpx2.get(url).is_success:
                return
        except httpx2.TransportError:
            time.sleep(0.5)
    raise AssertionError("the server did not start")


def prefect(project: Workspace, *words: str) -> str:
    done = subprocess.run(
        [PREFECT, *words], cwd=project.root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_worker_retrains_and_a_person_approves(server: Workspace):
    prefect(server, "deployment", "run", "retrain/weekly")
    work = [PREFECT, "worker", "start", "--pool", "local", "--run-once"]
    subprocess.run(work, cwd="/", env=os.environ, check=True, timeout=300)
    run = the_run("retrain")
    assert (run.state.name, run.state.type) == ("Accepted", "COMPLETED"), run.state.message

    prefect(server, "deployment", "run", "promote/approval")
    worker = subprocess.Popen(work, cwd="/", env=os.environ)
    try:
        for _ in range(240):
            run = the_run("promote")
            if run.state.is_paused():
                break
            time.sleep(0.5)
        assert run.state.is_paused(), run.state
        asked = question(run)
        for words in (
            "**demo-safety** version 1",
            "harmful.refused",
            "no champion",
            "none by a key",
        ):
            assert words in asked
        for by in ("", " \t\n", "\u2003"):
            answer(run, by=by)
        assert the_run("promote").state.is_paused()
        answer(run, by=" ann ")
        worker.wait(120)
    finally:
        worker.terminate()
    run = the_run("promote")
    assert (run.state.name, run.state.message) == (
        "Promoted",
        "ann (stated, not verified): looks good",
    )
    from components.registry.mlflow_registry import Registry
    from components.registry.status import status

    champion = status(Registry(server.root), "demo-safety")[0]
    assert (champion.alias, champion.version) == ("champion", "1")


def the_run(flow: str):
    """Return the run of a flow's deployment that was asked for, besides those that its schedule
    plans and those that other tests began without a deployment."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    named = FlowFilter(name=FlowFilterName(any_=[flow]))
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_filter=named)
    (run,) = (run for run in runs if run.deployment_id and not run.auto_scheduled)
    return run


def question(run) -> str:
    """Return what the form says above its fields."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        key = client.read_flow_run(run.id).state.state_details.run_input_keyset["description"]
        return client.request("GET", f"/flow_runs/{run.id}/input/{key}").json()


def answer(run, by: str) -> None:
    """Answer as a person does in Prefect's interface, whose server may refuse it."""
    from prefect.client.orchestration import get_client

    said = {"approve": True, "by": by, "why": "looks good"}
    with get_client(sync_client=True) as client:
        answered = client.resume_flow_run(run.id, run_input=said)
    refused = "by" in str(answered.details) if answered.status == "REJECT" else None
    assert (answered.status, refused) == (("REJECT", True) if not by.strip() else ("ACCEPT", None))


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_run_killed_with_its_worker_ends_and_the_next_one_has_its_turn(server: Workspace):
    behave(server, "train", "sleep 600")
    lost = run_deployment("retrain/weekly", timeout=0)
    work = [PREFECT, "worker", "start", "--pool", "local"]
    worker = subprocess.Popen(work, cwd="/", env=os.environ, start_new_session=True)
    wait_for_stage(server, worker)
    for process in [*psutil.Process(worker.pid).children(recursive=True), worker]:
        process.kill()
    worker.wait(30)
    assert wait_until_ended(lost, seconds=240) == ("Crashed", "CRASHED")

    behave(server, "train", "do")
    next_one = run_deployment("retrain/weekly", timeout=0)
    subprocess.run([*work, "--run-once"], cwd="/", env=os.environ, check=True, timeout=400)
    assert wait_until_ended(next_one, seconds=5) == ("Accepted", "COMPLETED")
    time.sleep(1.5 * SILENCE.total_seconds())  # its heartbeats have ended, and it has its own end
    assert wait_until_ended(next_one, seconds=5) == ("Accepted", "COMPLETED")


def wait_until_ended(run, seconds: float) -> tuple[str, str]:
    from prefect.client.orchestration import get_client

    until = time.monotonic() + seconds
    with get_client(sync_client=True) as client:
        while not (state := client.read_flow_run(run.id).state).is_final():
            assert time.monotonic() < until, state
            time.sleep(2)
    return state.name, state.type.value
