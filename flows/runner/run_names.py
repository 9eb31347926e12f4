"""The names of flow runs: Prefect colours a run by the type of its last state, and a no is a
completed run, as green as an acceptance. So its name says how it ended, wherever it is listed."""

from __future__ import annotations

import logging

import httpx
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext

log = logging.getLogger(__name__)


def say_end(name: str, end: str) -> None:
    """Call the flow run that this is `name: end`; outside of a flow run there is nothing to call
    so. A server that does not take it changes nothing of what was done."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    try:
        with get_client(sync_client=True) as client:
            client.update_flow_run(context.flow_run.id, name=f"{name}: {end}")
    except httpx.HTTPError as error:
        log.warning("the run keeps its name, which does not say %r: %s", end, error)
