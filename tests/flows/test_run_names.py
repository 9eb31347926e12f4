"""How a run that ends without an acceptance looks on a real Prefect server."""

from __future__ import annotations

from importlib import import_module

import pytest
from prefect.tasks import Task

from components.core.paths import Workspace
from components.gate.result import Decision, GateOutcome
from tests.flows.conftest import PROFILE
from tests.releases import write_result


@pytest.mark.parametrize("outcome", GateOutcome)
def test_no_run_looks_like_an_acceptance_that_is_none(
    server: str, finished: Workspace, monkeypatch, outcome
):
    """Each is a completed run all the same, for flows around it, retries and automations."""
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    import flows.retrain as module

    write_result("gate", finished, accepted=outcome is GateOutcome.ACCEPTED)
    found = Decision.load(finished.stage("gate"))
    found.model_copy(update={"outcome": outcome}).save(finished.stage("gate"))
    for done in ("check_profile", "_bring_up_to_date", "_publish", "register_adapter"):
        monkeypatch.setattr(module, done, lambda *_, **__: None)

    @flow
    def around():
        return module.retrain(PROFILE, return_state=True)

    monkeypatch.setenv("PREFECT_API_URL", server)
    with temporary_settings({PREFECT_API_URL: server}), get_client(sync_client=True) as client:
        ended = around(return_state=True).result()
        run = client.read_flow_run(ended.state_details.flow_run_id)
        assert (run.state.name, run.state.type.value) == (outcome.capitalize(), "COMPLETED")
        assert run.name == f"retrain {PROFILE}: {outcome}"
        parent = client.read_task_run(run.parent_task_run_id)
        assert parent.state.is_completed()


def test_a_name_that_the_server_does_not_take_changes_nothing(monkeypatch, caplog):
    import httpx
    from prefect.context import FlowRunContext

    from flows.runner import run_names

    def away(**_):
        raise httpx.ConnectError("away")

    monkeypatch.setattr(run_names, "get_client", away)
    run_names.say_end("retrain demo", "rejected")  # no flow runs
    assert caplog.messages == []
    context = FlowRunContext.model_construct(flow_run=object())
    monkeypatch.setattr(FlowRunContext, "get", lambda: context)
    run_names.say_end("retrain demo", "rejected")
    assert caplog.messages == ["the run keeps its name, which does not say 'rejected': away"]


@pytest.mark.parametrize("name", ["retrain", "watch"])
def test_no_task_of_a_flow_is_shown_with_a_random_ending(name: str):
    found = [one for one in vars(import_module(f"flows.{name}")).values() if isinstance(one, Task)]
    assert found and all(one.task_run_name for one in found)
