"""A run from the shell: on the server that PREFECT_API_URL names, else on an embedded one."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import psutil

from components.chain import STAGES
from components.core.disk import check_writable
from components.core.errors import SafeReActError
from components.core.paths import Workspace
from components.core.storage import keep_private
from components.gate.result import Decision
from flows.runner.champion import bring_champion
from flows.runner.dvc import stale_stages
from flows.runner.environment import check_prefect_server, embed_prefect
from flows.runner.lock import one_run
from flows.runner.outcome import Outcome, register_accepted

log = logging.getLogger(__name__)
_SERVER = "prefect.server.api.server:create_app"


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
    else:
        end_orphaned_servers()
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
    """Raise `InterruptionError` unless the embedded stores, where they are used, can grow."""
    if "PREFECT_API_URL" not in os.environ:
        check_writable([Path(os.environ["PREFECT_HOME"])])
    if "MLFLOW_TRACKING_URI" not in os.environ:
        check_writable([workspace.tracking_store])


def _outcome_if_fresh(workspace: Workspace) -> Outcome | None:
    """Return the outcome of a profile whose stages are all up to date; None where one is not."""
    with one_run(workspace.root, f"check {workspace.profile}"):
        bring_champion(workspace)
        if stale_stages(workspace):
            return None
        for stage in STAGES:
            log.info("[%s] %s", stage, "up to date")
        decision = Decision.load(workspace.stage("gate"))
        return Outcome(decision, register_accepted(workspace) if decision.accepted else None)


def end_orphaned_servers() -> list[int]:
    """End embedded servers whose run was killed; return their process ids.

    Such a server has our user, our PREFECT_HOME and no parent any more. Nothing else is touched.
    """
    ended = []
    for process in psutil.process_iter(["pid", "ppid", "uids", "cmdline"]):
        try:
            if not _is_orphan(process):
                continue
            process.terminate()
            ended.append(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return ended


def _is_orphan(process: psutil.Process) -> bool:
    info = process.info
    ours = info["uids"] is not None and info["uids"].real == os.getuid()
    if not ours or info["ppid"] != 1 or _SERVER not in (info["cmdline"] or ()):
        return False
    there = process.environ()
    home = os.environ["PREFECT_HOME"]
    return there.get("PREFECT__SERVER_EPHEMERAL") == "1" and there.get("PREFECT_HOME") == home
