"""What the processes of a run see: this Python first, no telemetry, an embedded Prefect."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from components.core.environment import QUIET
from components.core.errors import StageError
from components.core.paths import RUNS, Workspace
from components.core.run_record import OF_GIT

# What speaks of one repository. DVC runs an experiment in a copy, where it would be wrong.
_OF_A_REPOSITORY = (
    *("SAFEREACT_ROOT", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", *OF_GIT),
    RUNS,
    # With it `python -m components` would run the code of an editable install, another checkout's.
    "PYTHONSAFEPATH",
)
# Places that libraries look up where the process works, when they are relative.
_PLACES = (
    *("HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_XET_CACHE", "HF_ASSETS_CACHE"),
    *("HF_TOKEN_PATH", "TORCH_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "TMPDIR"),
    *("DVC_SITE_CACHE_DIR", "DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)

_SECONDS = 10  # in which a server must answer
_QUIET = {
    **QUIET,
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def stage_environment() -> dict[str, str]:
    """Return the environment of DVC and its stages: their `python` is this one, their output is not
    held back, and they work in the repository that they are started in, perhaps a copy."""
    inherited = {k: value for k, value in os.environ.items() if k not in _OF_A_REPOSITORY}
    places = {
        name: str(Path(inherited[name]).expanduser().absolute())
        for name in _PLACES
        if inherited.get(name)
    }
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    # DVC runs commands in the user's shell, which of a service's user lets nobody in.
    own = {"PATH": path, "PYTHONUNBUFFERED": "1", "SHELL": "/bin/sh"}
    return {**_QUIET, **inherited, **places, **own}


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
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)


def check_prefect_server(address: str) -> None:
    """Raise `StageError` unless the Prefect server at `address` answers."""
    import httpx2

    try:
        httpx2.get(f"{address.rstrip('/')}/health", timeout=_SECONDS).raise_for_status()
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        # A user and a password may stand in an address; they are not printed.
        server = address.partition("://")[2].rpartition("@")[2]
        raise StageError(
            f"the Prefect server at {server} does not answer ({type(error).__name__}); start it, "
            "or unset PREFECT_API_URL to run embedded"
        ) from error
