"""The retraining flow run from here: on the server of PREFECT_API_URL, or an embedded one."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import psutil

from components.workspace import Workspace
from flows.environment import embed_prefect

if TYPE_CHECKING:
    from flows.retrain import Outcome

log = logging.getLogger(__name__)
_SERVER = "prefect.server.api.server:create_app"


def run_retrain(workspace: Workspace) -> Outcome:
    """Run the flow `retrain` for a profile and return its outcome; raises what the flow raised."""
    os.environ["SAFEREACT_ROOT"] = str(workspace.root)
    embed_prefect(workspace.root)
    if not os.environ.get("PREFECT_API_URL"):
        end_orphaned_servers()
    from flows.retrain import retrain

    outcome: Any = retrain(workspace.profile)
    return outcome


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
