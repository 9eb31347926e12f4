"""Whose turn it is: one retraining of a profile at a time, wherever it runs, and one run at a time
in a repository.

What a worker runs waits: for the same profile in another clone by a limit of the Prefect server, of
which a run holds a lease that ends a minute after its process, and for whatever works in this clone
by its lock. Who starts a run from a shell is told at once instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.concurrency.sync import concurrency
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectAlreadyExists

from components.core.paths import Workspace
from flows.runner.lock import one_run
from flows.runner.lost_runs import end_lost_runs, mark_worker_run

LEASE = 60.0  # seconds, the shortest that Prefect knows


def worker_run() -> FlowRun | None:
    """Return the run of a deployment that this is, which a worker started; None: from a shell."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    return run if run and run.deployment_id else None


@contextmanager
def own_turn(workspace: Workspace) -> Iterator[None]:
    """Hold the turn of a profile's retraining for the block.

    Raises `BusyError` where a run from a shell finds another one in its repository.
    """
    run, what = worker_run(), f"retrain {workspace.profile}"
    if run is None:
        with one_run(workspace.root, what):
            yield
        return
    mark_worker_run(run)
    end_lost_runs()
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.upsert_global_concurrency_limit_by_name(what, 1)
    # A server that is away for a moment ends no training.
    with (
        concurrency(what, lease_duration=LEASE, strict=True, raise_on_lease_renewal_failure=False),
        one_run(workspace.root, what, waits=True),
    ):
        yield
