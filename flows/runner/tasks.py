"""A DVC stage as a Prefect task. DVC decides whether it runs; Prefect sees it happen."""

from __future__ import annotations

import logging
import time

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from components.core.paths import Workspace
from flows.runner.dvc import run_stage

log = logging.getLogger(__name__)


def log_line(what: str, text: str) -> None:
    """Log `[what] text` with the Prefect run, and with the standard library for the screen."""
    # Prefect puts its own handlers on its loggers when a run begins, so a screen cannot sit there.
    for logger in (log, get_run_logger()):
        logger.info("[%s] %s", what, text)


# A stage is deterministic: what failed once would fail again, so there are no retries.
@task(name="stage", task_run_name="{stage}", cache_policy=NO_CACHE, persist_result=False)
def reproduce(stage: str, workspace: Workspace, *, up_to_date: bool) -> None:
    """Bring one stage up to date; DVC is asked unless it is.

    Its output goes line by line to the log of the task and to the stage's log file.
    """
    if up_to_date:
        log_line(stage, "up to date")
        return
    start = time.monotonic()
    log_line(stage, "starts")
    run_stage(stage, workspace, lambda line: log_line(stage, line))
    log_line(stage, f"done in {time.monotonic() - start:.0f} s")
