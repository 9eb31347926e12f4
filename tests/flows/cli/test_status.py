"""Where the stages stand, reported while nothing runs and while something does."""

from __future__ import annotations

import os
import re
import shutil
import signal
from io import StringIO

import pytest

from components.chain import STAGES, dvc_name
from components.core.errors import StageError
from components.core.paths import Workspace
from components.core.storage import digest_folder
from flows.cli.status import State, running_command, stage_states
from flows.cli.tables import status_table
from flows.cli.terminal import Terminal
from flows.runner.dvc import run_stage
from flows.runner.lock import one_run
from tests.flows.conftest import behave, dvc, safereact
from tests.flows.runner.test_dvc import start_and_wait, wait_until_gone


def states(project: Workspace) -> dict[str, tuple[State, str]]:
    return {each.stage: (each.state, each.why) for each in stage_states(project)}


def test_stale_is_not_never_run(project: Workspace):
    assert set(states(project).values()) == {(State.NEVER_RUN, "")}
    for stage in ("prepare", "models"):
        run_stage(stage, project, lambda line: None)
    reported = states(project)
    assert list(reported) == list(STAGES)
    assert reported["prepare"] == reported["models"] == (State.UP_TO_DATE, "")
    assert reported["probe"] == (State.NEVER_RUN, "")

    behave(project, "prepare", "do again")
    text = project.profile_file.read_text()
    project.profile_file.write_text(text.replace("seed: 0", "seed: 1\ndata_seed: 1", 1))
    reported = states(project)
    assert reported["prepare"][0] is reported["models"][0] is State.STALE
    assert reported["prepare"][1] == "profiles/demo.yaml (data_seed), behaviour/prepare"
    project.profile_file.write_text(text)
    assert states(project)["models"] == (State.WAITS, "for prepare")

    behave(project, "prepare", "do")
    shutil.rmtree(project.stage("models"))
    assert states(project)["models"] == (State.MISSING, "its files are not here")
    run_stage("models", project, lambda line: None)
    (project.stage("models") / "models.json").write_text("{}")
    assert states(project)["models"] == (State.STALE, "its files were changed")


@pytest.mark.parametrize(
    ("stage", "file", "stale", "waiting"),
    [
        ("prepare", "suites.json", ["evaluate"], ["gate", "report"]),  # more test prompts
        ("prepare", "manifest.json", ["models"], ["probe", "train", "evaluate", "gate", "report"]),
        ("models", "models.json", ["probe"], ["train", "evaluate", "gate", "report"]),
        ("gate", "decision.json", ["report"], []),
    ],
)
def test_a_stage_that_ran_alone_leaves_the_next_ones_stale(
    finished: Workspace, stage, file, stale, waiting
):
    path = finished.stage(stage) / file
    path.write_text(path.read_text() + "\n")
    dvc(finished.root, "commit", "-q", "--force", dvc_name(stage, finished.profile))
    reported = states(finished)
    assert [name for name, (state, _) in reported.items() if state is State.STALE] == stale
    assert {reported[name][1] for name in stale} == {f"another result of {stage}"}
    assert [name for name, (state, _) in reported.items() if state is State.WAITS] == waiting


def test_code_that_changed_is_reported_without_a_run(project: Workspace):
    run_stage("prepare", project, lambda line: None)
    (project.root / "components").unlink()
    components = os.path.realpath(os.environ["PYTHONPATH"]) + "/components"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(components, project.root / "components", ignore=ignored)
    before = digest_folder(project.root / "artifacts" / ".inputs")
    assert states(project)["prepare"] == (State.UP_TO_DATE, "")
    for file, more, reported in (
        ("prepare/splits.py", "# a remark", (State.UP_TO_DATE, "")),
        ("lm/states.py", "MORE = 1", (State.UP_TO_DATE, "")),
        ("prepare/leaks.py", "MORE = 1", (State.STALE, "code")),
    ):
        with (project.root / "components" / file).open("a") as stream:
            stream.write(f"\n{more}\n")
        assert states(project)["prepare"] == reported, file
    assert digest_folder(project.root / "artifacts" / ".inputs") == before


def test_a_profile_whose_files_dvc_does_not_name_yet_is_reported(finished: Workspace):
    text = finished.parameters.read_text()
    finished.parameters.write_text(
        text.replace("profiles:", "profiles:\n  new: {checkpoints: own}", 1)
    )
    shutil.copy(finished.profile_file, finished.profile_file.with_name("new.yaml"))
    new = Workspace(finished.root, "new")
    assert set(states(new).values()) == {(State.NEVER_RUN, "")}
    assert states(finished)["prepare"] == (State.UP_TO_DATE, "")


def decision_shown(project: Workspace) -> str:
    target = StringIO()
    Terminal(file=target, width=200).print(status_table(project, stage_states(project), []))
    return next(line for line in target.getvalue().splitlines() if "decision" in line)


def test_a_decision_that_is_not_on_what_is_here_is_not_shown_as_if_it_were(finished: Workspace):
    lock = finished.lock.read_text()
    assert re.search("decision +the gate accepted adapter", decision_shown(finished))
    for text, said in {
        lock[: lock.index("report@demo")]: "the gate accepted",  # what comes behind it is lost
        lock[: lock.index("gate@demo")]: "none that dvc.lock has; a file that lies here says: ",
        lock.replace("data_seed: 0", "data_seed: 1"): "of an earlier run (gate: ",
    }.items():
        finished.lock.write_text(text)
        assert f"  {said}" in decision_shown(finished)
    finished.lock.unlink()
    assert "  none that dvc.lock has" in decision_shown(finished)


@pytest.mark.parametrize("damaged", [b"", b"\0\xff", b"stages: [a]\n"])
def test_a_damaged_record_of_what_ran_is_told_with_its_remedy(
    finished: Workspace, damaged, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("flows.cli.status._PAUSE_SECONDS", 0)
    finished.lock.write_bytes(damaged)
    with pytest.raises(StageError, match=r"dvc.lock.*git checkout dvc.lock"):
        stage_states(finished)


@pytest.mark.slow
def test_it_is_reported_during_a_run(project: Workspace):
    parent, started = start_and_wait(project)
    try:
        done = safereact("status")
    finally:
        parent.send_signal(signal.SIGINT)
        parent.wait(50)
    assert done.returncode == 0, done.stderr
    rows = (re.split(r"  +", line.strip()) for line in done.stdout.splitlines())
    reported = {row[0]: row[1:] for row in rows}
    assert reported["prepare"][0].startswith("running, process ")
    assert reported["models"] == ["never run"]
    assert reported["decision"] == ["the gate has not decided yet"]
    assert max(map(len, done.stdout.splitlines())) <= 80
    wait_until_gone(started)
    assert states(project)["prepare"] == (State.NEVER_RUN, "")


def test_the_run_that_holds_the_repository_is_reported(project: Workspace):
    assert running_command(project.root) == ""
    with one_run(project.root, "tune demo"):
        assert running_command(project.root).startswith("tune demo, process ")
    assert running_command(project.root) == ""
    with pytest.raises(ZeroDivisionError), one_run(project.root, "tune demo"):
        raise ZeroDivisionError
    assert running_command(project.root) == ""
