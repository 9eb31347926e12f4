"""A run from the shell: on the server that PREFECT_API_URL names, else on an embedded one."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from components.chain import STAGES
from components.core.disk import check_temporary, check_writable
from components.core.errors import SafeReActError
from components.core.paths import Workspace
from components.core.storage import keep_private
from components.gate.result import Decision
from flows.runner.dvc import stale_stages
from flows.runner.environment import check_prefect_server, embed_prefect
from flows.runner.lock import one_run
from flows.runner.registry import Outcome, bring_champion, register_accepted

log = logging.getLogger(__name__)


def run_retrain(workspace: Workspace) -> Outcome:
    """Bring a profile up to date and return the outcome; raises what the flow `retrain` raised.

    Where nothing is stale there is nothing for a flow to do, so no server is started for it.
    """
    os.environ["SAFEREACT_ROOT"] = str(workspace.root)
    embed_prefect(workspace.root)
    server = os.environ.get("PREFECT_API_URL")
    if server:
        check_prefect_server(server)
    elif fresh := _outcome_if_fresh(workspace):
        return fresh
    _check_stores(workspace)
    if not server:
        keep_private(Path(os.environ["PREFECT_HOME"]))
    from flows.retrain import retrain
    from flows.runner.lost_runs import end_lost_runs, of_this_process

    try:
        with of_this_process():
            if ended := end_lost_runs():
                log.info("[%s] %s", "prefect", f"{ended} killed runs are set to Crashed")
            outcome: Any = retrain(workspace.profile)
    except SafeReActError:
        raise
    except Exception:
        _check_stores(workspace)  # a server whose disk is full says no more than "error 500"
        raise
    return outcome


def _check_stores(workspace: Workspace) -> None:
    """Raise `InterruptionError` unless temporary files and the embedded stores have room."""
    check_temporary()
    if "PREFECT_API_URL" not in os.environ:
        check_writable([Path(os.environ["PREFECT_HOME"])])
    if "MLFLOW_TRACKING_URI" not in os.environ:
        check_writable([workspace.tracking_store])


def _outcome_if_fresh(workspace: Workspace) -> Outcome | None:
    """Return the outcome of a profile whose stages are all up to date; None where one is not."""
    if not (workspace.stage("gate") / Decision.FILE).is_file():  # so DVC need not be asked
        return None
    with one_run(workspace.root, f"check {workspace.profile}"):
        bring_champion(workspace)
        if stale_stages(workspace):
            return None
        for stage in STAGES:
            log.info("[%s] %s", stage, "up to date")
        decision = Decision.load(workspace.stage("gate"))
        return Outcome(decision, register_accepted(workspace) if decision.accepted else None)
