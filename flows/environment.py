"""What the processes of a run see: this Python first, no telemetry, an embedded Prefect."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from components.workspace import Workspace

_QUIET = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TOKENIZERS_PARALLELISM": "false",
    # Threads that wait by sleeping: on busy cores spinning ones take up to 30 times as long.
    "OMP_WAIT_POLICY": "PASSIVE",
}


def stage_environment() -> dict[str, str]:
    """Return the environment of a stage: its `python` is this one, its output is not held back."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return {**_QUIET, **os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}


def embed_prefect(root: Path) -> None:
    """Let Prefect, imported after this, keep its state below `root` and its console still.

    What the environment says already stays, `PREFECT_API_URL` above all: with it the run belongs
    to that server.
    """
    settings = {
        **_QUIET,
        "PREFECT_HOME": str(Workspace(root, "").prefect_home),
        "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        # A cold server on a busy machine needs more than Prefect's twenty seconds.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)
