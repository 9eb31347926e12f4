"""`safereact` as a person uses it: exit codes, one message, nothing done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from components.chain import STAGES
from components.core.paths import Workspace
from components.core.storage import digest_folder
from components.gate.overrides import read_overrides
from components.gate.result import Decision
from components.registry.mlflow_registry import Registry
from flows.runner.lock import one_run
from tests.flows.conftest import behave, invoke, leak_into_training, safereact, wait_for_stage
from tests.releases import write_all


@pytest.fixture
def on_server(server: str, finished: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A repository after all stages, whose runs belong to a server that is there already."""
    monkeypatch.setenv("PREFECT_API_URL", server)
    return finished


@pytest.mark.slow
def test_accepted_registered_promoted_pulled(on_server: Workspace, tmp_path):
    project = on_server
    leaked = leak_into_training(project)
    behave(project, "prepare", "do it again")
    first = safereact("run", "--profile", "demo")
    assert first.returncode == 0, first.stderr
    assert leaked in " ".join(first.stdout.split()), "what training held is reported of the rules"
    for number, stage in enumerate(STAGES, 1):
        assert f"{number}/{len(STAGES)} {stage}" in first.stdout
    assert first.stdout.count("working on") == 4, "a leak is no matter for what is trained"
    assert "registered: demo-safety version 1, alias candidate" in first.stdout
    assert "look 1 at these test prompts" in first.stdout
    assert "report: artifacts/demo/studies/report.html" in first.stdout

    second = safereact("run", "--profile", "demo")
    assert second.returncode == 0, second.stderr
    assert second.stdout.count("up to date") == len(STAGES)
    assert "registered already: demo-safety version 1" in second.stdout
    assert "look 1 at these test prompts" in second.stdout
    assert "working on" not in second.stdout
    assert "Traceback" not in second.stderr

    told = safereact("run", "--profile", "demo", "--json")
    document = json.loads(told.stdout)
    assert document["decision"]["outcome"] == "accepted"
    assert document["registered"]["version"] == "1"
    assert "registered already" in told.stderr and "1/7 prepare" in told.stderr

    why = ("--by", "ann", "--why", "better")
    assert "version 1 is champion" in invoke("promote", "--profile", "demo", *why).stdout
    assert "no earlier champion" in invoke("rollback", "demo-safety", *why).stderr
    history = json.loads(invoke("history", "demo-safety", "--json").stdout)
    assert [change["event"] for change in history["changes"]] == ["promoted"]
    assert history["signed"] == [] and len(history["head"]) == 64
    links = json.loads(invoke("audit", "demo-safety", "--json").stdout)
    assert len(links) > 3 and all(link["holds"] for link in links)
    printed = safereact("status").stdout
    assert printed.count("up to date") == len(STAGES)
    assert all(word in printed for word in ("the gate accepted adapter", "champion", "ann"))
    folder = tmp_path / "pulled"
    assert invoke("pull", "demo-safety@champion", str(folder)).returncode == 0
    (folder / "README.md").unlink()  # the model card
    assert digest_folder(folder) == digest_folder(project.stage("train") / "adapter")


@pytest.mark.slow
def test_a_failed_stage_is_1_then_the_next_run_goes_on_and_a_rejection_is_3(on_server: Workspace):
    finished = on_server
    behave(finished, "evaluate", "fail the judge cannot be read")
    failed = safereact("run", "--profile", "demo")
    assert failed.returncode == 1
    assert failed.stderr == "safereact: evaluate: the judge cannot be read\n"

    behave(finished, "evaluate", "do it again")
    behave(finished, "gate", "reject")
    rejected = safereact("run", "--profile", "demo")
    assert rejected.returncode == 3
    assert rejected.stderr == ""
    assert rejected.stdout.count("up to date") == 4
    assert "working on evaluate" in rejected.stdout and "working on train" not in rejected.stdout
    assert "FAIL" in rejected.stdout and "nothing was registered" in rejected.stdout
    shown = " ".join(rejected.stdout.split())
    reasons = [rule.why for rule in Decision.load(finished.stage("gate")).rules if not rule.passed]
    assert reasons and all(" ".join(why.split()) in shown for why in reasons)
    assert "safereact diagnose --profile demo" in rejected.stdout
    assert "look 1 at these test prompts" in rejected.stdout
    assert Registry(finished.root).find_model("demo-safety") is None
    again = safereact("run", "--profile", "demo")
    assert again.returncode == 3 and "look 1 at these test prompts" in again.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "--profile", "nope"), "unknown profile 'nope'; profiles/ holds: demo"),
        (("run", "--profil", "demo"), "No such option: --profil"),
        (("promote", "x", "--by", "ann"), "Missing option '--why'"),
        (("pull", "x", "dir"), "'x' is not NAME@ALIAS"),
        (("promote", "--by", "a", "--why", "b"), "give the registered model's name or --profile"),
    ],
)
def test_usage_errors_are_exit_code_2(project: Workspace, words, message):
    done = invoke(*words)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr


def test_an_override_is_signed_or_refused_with_the_reason(project: Workspace):
    write_all(project, accepted=False)
    signature = ("--by", "ann", "--why", "a nurse reads [every] answer", "--profile", "demo")
    rule, soon = "refuses harmful requests", str(datetime.now(UTC).date() + timedelta(days=9))
    signed = invoke("override", "--rule", rule, "--until", soon, *signature)
    assert signed.returncode == 0, signed.stderr
    assert signed.stdout.startswith(f"written: mlflow/overrides/demo.yaml: '{rule}' of adapter ")
    (record,) = read_overrides(project.overrides.parent)
    assert (record.rule, record.who, record.why) == (rule, "ann", "a nurse reads [every] answer")
    assert record.adapter == Decision.load(project.stage("gate")).adapter
    for words, message in (
        (("--rule", "no such", "--until", soon), "the policy has no such rule; its rules are"),
        (("--rule", rule, "--until", "2020-01-01"), "must be a day from today"),
        (("--rule", rule, "--until", "tomorrow"), "does not match"),
    ):
        refused = invoke("override", *words, *signature)
        assert refused.returncode == 2
        assert message in " ".join(refused.stderr.split()), refused.stderr


def test_an_unknown_key_is_named_before_anything_starts(project: Workspace):
    with project.profile_file.open("a") as stream:
        stream.write("surprise: 1\n")
    done = invoke("run", "--profile", "demo")
    assert done.returncode == 2
    assert "surprise: unknown key" in done.stderr
    assert not project.run_lock.exists()


def start_sleeping_run(project: Workspace) -> subprocess.Popen[str]:
    behave(project, "prepare", "sleep")
    command = [sys.executable, "-m", "flows.cli.main", "run", "--profile", "demo"]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    wait_for_stage(project, run)
    return run


@pytest.mark.slow
def test_two_runs_at_once_and_control_c(project: Workspace):
    first = start_sleeping_run(project)
    second = safereact("run", "--profile", "demo")
    assert second.returncode == 1
    assert f"retrain demo, process {first.pid} on" in second.stderr
    assert second.stderr.count("\n") == 1
    assert first.poll() is None
    first.send_signal(signal.SIGINT)
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 130
    assert errors == "safereact: interrupted; what was finished is kept, the next run goes on\n"
    stage = int((project.root / "sleeping").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(stage, 0)
    with one_run(project.root, "a run after it"):
        pass


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys; from typer.testing import CliRunner; from flows.cli import commands; "
        "CliRunner().invoke(commands.app, ['--help']); "
        "heavy = set('torch transformers mlflow prefect dvc pandas sklearn pydantic'.split()); "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
