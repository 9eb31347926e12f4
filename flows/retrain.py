"""The flow that keeps one model pair safe: every stage, the gate's decision, the registration."""

from __future__ import annotations

import logging
import re
from functools import partial
from typing import TYPE_CHECKING

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun
from prefect.logging import get_run_logger
from prefect.runtime import task_run
from prefect.states import Completed, State
from prefect.tasks import Task

from components.chain import STAGES
from components.core.errors import RegistryError, SafeReActError
from components.core.paths import Workspace, open_workspace
from components.gate.result import Decision
from flows.decision_page import decision_page, summary
from flows.runner.dvc import in_turn, reproduce
from flows.runner.profiles import check_profile
from flows.runner.registry import (
    Outcome,
    bring_champion,
    conclude,
    describe_champion,
    measures_champion,
    record_failure,
)
from flows.runner.remote import push_version, pushes
from flows.runner.run_log import warnings_in_run_log
from flows.runner.run_names import say_end
from flows.runner.turns import own_turn

if TYPE_CHECKING:
    from components.registry.registration import Registered

log = logging.getLogger(__name__)


@flow(name="retrain", flow_run_name="retrain {profile}", persist_result=False)
def retrain(profile: str, push: bool = False) -> State[Outcome]:
    """Bring `profile` up to date and register its adapter if the gate accepts it; with `push`, or
    where the profile says so, push what the version rests on to DVC's remote.

    The state is called Accepted, Rejected or Inconclusive; all are completed runs. Raises what a
    stage or the registry raised, and `BusyError` where another run works in this repository and
    this one is not a deployment's, which waits.
    """
    workspace = open_workspace(profile)
    check_profile(workspace)
    pushed = pushes(workspace, asked=push)
    with own_turn(workspace), warnings_in_run_log():
        try:
            _bring_up_to_date(workspace)
        except SafeReActError as error:
            record_failure(workspace, error)
            raise
        decision = Decision.load(workspace.stage("gate"))
        _publish(workspace, decision)
        outcome = register_adapter(workspace)
        if pushed and outcome.registered:
            push_to_remote(workspace, outcome.registered)
    name = decision.outcome.capitalize()
    say_end(f"retrain {profile}", decision.outcome)
    return Completed(name=name, message=summary(decision), data=outcome)


def _bring_up_to_date(workspace: Workspace) -> None:
    bring = fetch_from_registry if measures_champion(workspace) else bring_champion
    for stage, up_to_date in in_turn(workspace, STAGES, partial(bring, workspace)):
        run_stage(stage, workspace, up_to_date=up_to_date)


def log_line(what: str, text: str) -> None:
    """Log `[what] text` with the Prefect run, and with the standard library for the screen."""
    # Prefect puts its own handlers on its loggers when a run begins, so a screen cannot sit there.
    for logger in (log, get_run_logger()):
        logger.info("[%s] %s", what, text)


# A stage is deterministic: what failed once would fail again, so there are no retries.
@task(name="stage", task_run_name="{stage}", cache_policy=NO_CACHE, persist_result=False)
def run_stage(stage: str, workspace: Workspace, *, up_to_date: bool) -> None:
    """Bring one stage up to date; its output goes line by line to the log of the task."""
    reproduce(stage, workspace, log_line, up_to_date=up_to_date)


def _server_failed(_task: Task, _run: TaskRun, state: State) -> bool:
    return isinstance(state.result(raise_on_failure=False), RegistryError)


# A server that is down for a moment is asked again.
_registry_task = task(
    task_run_name=lambda: str(task_run.task_name),  # without Prefect's random ending
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=[5, 20],
    retry_condition_fn=_server_failed,
)


@_registry_task
def fetch_from_registry(workspace: Workspace) -> bool:
    """Bring the champion that the adapter is to be compared with; return whether it changed."""
    log_line("champion", "asking the registry")
    changed = bring_champion(workspace)
    log_line("champion", describe_champion(workspace))
    return changed


@_registry_task
def register_adapter(workspace: Workspace) -> Outcome:
    """Record the decision, and register an accepted adapter."""
    log_line("registry", "recording the decision")
    outcome = conclude(workspace)
    log_line("registry", outcome.looked.words)
    if registered := outcome.registered:
        how = "registered" if registered.new else "registered already"
        log_line("registry", f"{how}: {registered.name} version {registered.version}")
    return outcome


@_registry_task
def push_to_remote(workspace: Workspace, registered: Registered) -> None:
    """Push what a registered version rests on to DVC's remote."""
    log_line("push", "asking the remote what it lacks")
    log_line("push", push_version(workspace, registered))


def _publish(workspace: Workspace, decision: Decision) -> None:
    """Show the decision in the Prefect interface."""
    key = re.sub(r"[^a-z0-9-]+", "-", f"gate-{workspace.profile}")
    create_markdown_artifact(
        decision_page(workspace, decision), key=key, description=summary(decision)
    )
