"""The flow that looks after a champion: measured again, told, and trained anew where it must be."""

from __future__ import annotations

import re
from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.events import emit_event
from prefect.flows import Flow
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, State

from components.core.paths import Workspace, open_workspace
from components.core.untrusted_text import for_terminal
from components.studies.watch.result import Drift, Watch
from flows.runner.notices import BELOW, FAILED, resource, topic
from flows.runner.run_log import warnings_in_run_log
from flows.runner.run_names import say_end
from flows.runner.turns import worker_run
from flows.runner.watching import watch_once

_BELOW_POLICY = "BelowPolicy"


def _state(drift: Drift) -> str:
    return str(drift).title().replace(" ", "")


# The names of a run's completed states.
ENDS = (*map(_state, Drift), _BELOW_POLICY)


def _tell_failure(flow: Flow, flow_run: FlowRun, state: State) -> None:
    """A champion that cannot be measured is no quiet one."""
    profile = str(flow_run.parameters.get("profile"))
    words = for_terminal(f"{flow.name} of {profile}: {state.message or state.name}")
    emit_event(FAILED, resource(profile), payload={"words": words})


@flow(
    name="watch",
    flow_run_name="watch {profile}",
    persist_result=False,
    on_failure=[_tell_failure],
    on_crashed=[_tell_failure],
)
def watch(
    profile: str,
    production: str | None = None,
    upstream: bool = False,
    retrain: str | None = "retrain/weekly",
) -> State[Watch]:
    """Measure the champion of `profile` again, and tell by an event what was found.

    `production` is a file of prompts and completions; with `upstream` the hub is asked for the
    pair's commits. Below the policy the deployment `retrain` is started with this profile. The
    state is called NoDrift, Drift, CannotTell or BelowPolicy; all are completed runs. Raises what
    `watch_once` raised.
    """
    workspace = open_workspace(profile)
    with warnings_in_run_log():
        found = measure_champion(workspace, production, upstream, waits=worker_run() is not None)
    _publish(profile, found)
    words = f"{profile}, version {found.version}: {found.words}"
    event = topic(found)
    try:
        if found.below_policy and retrain and PREFECT_API_URL.value():
            run_deployment(retrain, parameters={"profile": profile}, timeout=0)
            words += f"; {retrain} was started"
        elif found.below_policy and retrain:
            words += f"; {retrain} was not started: PREFECT_API_URL is not set"
    finally:  # what was found is told although nothing could be started
        emit_event(event, resource(profile), payload={"words": words})
    get_run_logger().info("%s", words)
    name = _BELOW_POLICY if event == BELOW else _state(found.drift)
    say_end(f"watch {profile}", "below policy" if event == BELOW else found.drift)
    return Completed(name=name, message=words, data=found)


@task(name="measure", task_run_name="measure", cache_policy=NO_CACHE, persist_result=False)
def measure_champion(
    workspace: Workspace, production: str | None, upstream: bool, *, waits: bool
) -> Watch:
    """Measure the champion and record what was found."""
    file = Path(production) if production else None
    return watch_once(workspace, production=file, upstream=upstream, waits=waits)


def _publish(profile: str, found: Watch) -> None:
    """Show the figures in the Prefect interface."""
    rows = [
        {
            "metric": line.metric,
            "conclusion": line.conclusion.value,
            "now": line.now.rate,
            "then": line.then.rate if line.then else None,
            "n": line.now.n,
            "why": line.why,
        }
        for line in found.lines
    ]
    key = re.sub(r"[^a-z0-9-]+", "-", f"watch-{profile}")
    create_table_artifact(rows, key=key, description="\n\n".join([found.words, *found.notes]))
