"""A DVC stage as a Prefect task. DVC decides whether it runs; Prefect sees it happen."""

from __future__ import annotations

import time

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from components.workspace import Workspace
from flows.pipeline import run_stage


# A stage is deterministic: what failed once would fail again, so there are no retries.
@task(name="stage", task_run_name="{stage}", cache_policy=NO_CACHE, persist_result=False)
def reproduce(stage: str, workspace: Workspace, *, up_to_date: bool) -> bool:
    """Bring one stage up to date; return whether DVC had to be asked.

    Its output goes line by line to the log of the task and to the stage's log file.
    """
    log = get_run_logger()
    if up_to_date:
        log.info("[%s] %s", stage, "up to date")
        return False
    start = time.monotonic()
    log.info("[%s] %s", stage, "starts")
    run_stage(stage, workspace, lambda line: log.info("[%s] %s", stage, line))
    log.info("[%s] %s", stage, f"done in {time.monotonic() - start:.0f} s")
    return True
