"""Runs of the flow whose process is gone: Prefect learns that they have ended.

A run that is interrupted in the middle of a request to the server, or killed outright, stays
`Running` by itself. Each run carries the tag of its process.
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
_SHELL, _WORKER = "from a shell", "from a worker"
_TAG = re.compile(r"process (\d+) on (.+)")


@contextmanager
def of_this_process() -> Iterator[None]:
    """Tag the runs that begin within the block with this process; an interrupt ends them all."""
    tag = _own_tag()
    try:
        with tags(_SHELL, tag):
            yield
    except KeyboardInterrupt:
        # The engine has set the state, unless the interrupt came between two of its requests.
        with get_client(sync_client=True) as client:
            for run in _open_runs(client, tag):
                _crash(client, run, "interrupted")
        raise


def mark_worker_run(run: FlowRun) -> None:
    """Tag a run that a worker began with this process, which is its."""
    kept = [tag for tag in run.tags if not _TAG.fullmatch(tag)]  # of a process before
    with get_client(sync_client=True) as client:
        client.update_flow_run(run.id, tags=[*kept, _WORKER, _own_tag()])


def end_lost_runs() -> int:
    """Set the runs whose process on this machine is gone to `Crashed`; return how many."""
    host, count = socket.gethostname(), 0
    with get_client(sync_client=True) as client:
        for run in _open_runs(client, _SHELL, _WORKER):
            marks = [found for found in map(_TAG.fullmatch, run.tags) if found]
            if any(mark[2] == host and _is_gone(int(mark[1]), run) for mark in marks):
                _crash(client, run, "its process was killed")
                count += 1
    return count


def _own_tag() -> str:
    return f"process {process_id()} on {socket.gethostname()}"


def _open_runs(client: SyncPrefectClient, *any_tag: str) -> list[FlowRun]:
    tagged = FlowRunFilter.model_validate({"state": _OPEN, "tags": {"any_": any_tag}})
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
    begun = run.start_time or run.expected_start_time or run.created
    try:
        created = psutil.Process(process).create_time()
    except psutil.NoSuchProcess:
        return True
    return begun is not None and created > begun.timestamp() + 1
