"""Runs of the flow whose process is gone: Prefect learns that they have ended.

A run that is interrupted in the middle of a request to the server, or killed outright, stays
`Running` by itself. Each run from a shell carries the tag of its process.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from prefect import tags
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Crashed

from flows.runner.supervisor import process_id

_ONGOING = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
_OPEN = {"type": {"any_": _ONGOING}}
_TAG = re.compile(r"process (\d+) on (.+)")


@contextmanager
def of_this_process() -> Iterator[None]:
    """Tag the runs that begin within the block with this process; an interrupt ends them all."""
    tag = f"process {process_id()} on {socket.gethostname()}"
    try:
        with tags("from a shell", tag):
            yield
    except KeyboardInterrupt:
        # The engine has set the state, unless the interrupt came between two of its requests.
        with get_client(sync_client=True) as client:
            for run in _open_runs(client, tag):
                _crash(client, run, "interrupted")
        raise


def end_lost_runs() -> int:
    """Set the runs whose process on this machine is gone to `Crashed`; return how many."""
    host, count = socket.gethostname(), 0
    with get_client(sync_client=True) as client:
        for run in _open_runs(client, "from a shell"):
            marks = [found for found in map(_TAG.fullmatch, run.tags) if found]
            if any(mark[2] == host and _is_gone(int(mark[1]), run) for mark in marks):
                _crash(client, run, "its process was killed")
                count += 1
    return count


def _open_runs(client: SyncPrefectClient, tag: str) -> list[FlowRun]:
    tagged = FlowRunFilter.model_validate({"state": _OPEN, "tags": {"all_": [tag]}})
    return client.read_flow_runs(flow_run_filter=tagged)


def _crash(client: SyncPrefectClient, run: FlowRun, why: str) -> None:
    tasks = client.read_task_runs(
        flow_run_filter=FlowRunFilter.model_validate({"id": {"any_": [run.id]}}),
        task_run_filter=TaskRunFilter.model_validate({"state": _OPEN}),
    )
    for task in tasks:
        client.set_task_run_state(task.id, Crashed(message=why), force=True)
    client.set_flow_run_state(run.id, Crashed(message=why), force=True)


def _is_gone(process: int, run: FlowRun) -> bool:
    """Return whether the process has ended, though another may have its number since."""
    begun = run.expected_start_time or run.created
    try:
        created = psutil.Process(process).create_time()
    except psutil.NoSuchProcess:
        return True
    return begun is not None and created > begun.timestamp() + 1
