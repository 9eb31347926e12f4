"""What ends a lost run, whose turn it is, and what the form of an approval takes."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from threading import Timer

import pytest

from components.core.documents import read_yaml
from components.core.errors import BusyError, ConfigError
from components.core.paths import Workspace
from components.studies.watch.result import Drift
from flows.runner.lock import one_run
from tests.flows.conftest import ROOT, invoke


def test_every_end_of_a_run_is_expected_where_a_heartbeat_was():
    """An end whose event is not expected would be taken for a silence, and set to Crashed."""
    from flows.deploy import SILENCE, lost_run_automation

    trigger = lost_run_automation().trigger
    own = {"Accepted", "Rejected", "Inconclusive", "Promoted", "Declined"}
    own |= {"BelowPolicy", *(str(drift).title().replace(" ", "") for drift in Drift)}
    ends = {"Completed", "Failed", "Crashed", "Cancelled", *own, "heartbeat"}
    assert trigger.expect == {f"prefect.flow-run.{name}" for name in ends}
    assert not any(re.fullmatch("prefect.flow-run.(Paused|Running)", one) for one in trigger.expect)
    pool = read_yaml(ROOT / "prefect.yaml")["definitions"]["pool"]
    beat = int(pool["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
    assert 30 <= beat <= SILENCE.total_seconds() / 3


@pytest.mark.parametrize(
    "text",
    ["name: x\n", "deployments: []\n", "deployments:\n", "deployments: [{name: weekly}]\n"],
)
def test_nothing_to_deploy_is_no_success(tmp_path, text):
    from flows.deploy import deploy

    (tmp_path / "prefect.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"prefect\.yaml"):
        deploy(tmp_path)


@pytest.mark.parametrize("key", ["by", "why"])
@pytest.mark.parametrize("blank", ["", " ", "\t\n", "\u2003"])
def test_a_blank_name_or_reason_is_refused_by_the_form(key, blank):
    """The server holds an answer against the form's schema, before the flow goes on."""
    from prefect.utilities.schema_tools import ValidationError, validate
    from pydantic import ValidationError as Invalid

    from flows.promote import approval_form

    form = approval_form("?")
    said = {"approve": True, "by": " ann ", "why": "looks good"}
    validate(said, form.model_json_schema(), raise_on_error=True)
    assert form.model_validate(said).by == "ann"
    with pytest.raises(ValidationError):
        validate({**said, key: blank}, form.model_json_schema(), raise_on_error=True)
    with pytest.raises(Invalid):
        form.model_validate({**said, key: blank})


def test_a_run_waits_for_the_one_before_it_or_is_told_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr("flows.runner.lock._PAUSE", 0.1)
    held = one_run(tmp_path, "the first")
    held.__enter__()
    with pytest.raises(BusyError, match="the first"), one_run(tmp_path, "from a shell"):
        pass
    Timer(0.5, held.__exit__, (None, None, None)).start()
    with one_run(tmp_path, "of a worker", waits=True):
        pass


def test_deployments_need_a_server(project: Workspace):
    refused = invoke("deploy")
    assert refused.returncode == 2 and "PREFECT_API_URL" in refused.stderr


def test_runs_of_workers_whose_process_is_gone_are_ended(server: str):
    """Those of a live process, and of other machines, are left alone."""
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings
    from prefect.states import Running

    from flows.runner.lost_runs import end_lost_runs, mark_worker_run

    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    @flow
    def nothing() -> None: ...

    with temporary_settings({PREFECT_API_URL: server}), get_client(sync_client=True) as client:
        here, there = socket.gethostname(), "another"
        marks = [f"process {ended.pid} on {here}", f"process {ended.pid} on {there}"]
        runs = [
            client.create_flow_run(nothing, state=Running(), tags=["from a worker", mark])
            for mark in marks
        ]
        # A new process took it up again.
        runs.append(client.create_flow_run(nothing, state=Running(), tags=[marks[0]]))
        mark_worker_run(runs[-1])
        assert end_lost_runs() == 1
        found = [client.read_flow_run(run.id) for run in runs]
    assert [run.state.name for run in found] == ["Crashed", "Running", "Running"]
    assert f"process {os.getpid()} on {here}" in found[-1].tags and marks[0] not in found[-1].tags
