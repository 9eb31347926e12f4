"""A real MLflow tracking server of its own, with basic authentication, and what a store holds."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from components.registry.mlflow_registry import Registry, Version

USER, PASSWORD = "admin", "a-long-secret-1"
_START_SECONDS = 120
_SETTINGS = """\
[mlflow]
default_permission = READ
database_uri = sqlite:///{folder}/users.db
admin_username = {user}
admin_password = {password}
auth_cache_ttl_seconds = 600
"""


@dataclass(frozen=True, slots=True)
class TrackingServer:
    """Where a server listens and the process group that serves."""

    uri: str
    group: int

    def environment(self, user: str = USER, password: str = PASSWORD) -> dict[str, str]:
        """Return the environment that a client of the server needs."""
        return {
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_TRACKING_USERNAME": user,
            "MLFLOW_TRACKING_PASSWORD": password,
        }

    def add_user(self, user: str, password: str, *, admin: bool = False) -> None:
        """Make a user who may read everything and, but for an `admin`, change nothing that is not
        theirs."""
        changes: list[tuple[Callable[..., httpx2.Response], str, dict[str, object]]] = [
            (httpx2.post, "create", {"username": user, "password": password}),
            (httpx2.patch, "update-admin", {"username": user, "is_admin": admin}),
        ]
        for send, what, body in changes:
            answer = send(
                f"{self.uri}/api/2.0/mlflow/users/{what}", json=body, auth=(USER, PASSWORD)
            )
            answer.raise_for_status()


@contextmanager
def serve(
    folder: Path, *, backend: str | None = None, users: bool = True
) -> Iterator[TrackingServer]:
    """Yield a server that keeps all it holds below `folder`; it ends with the block.

    `backend` is another database than the sqlite file there; without `users` anybody may do
    anything. The start takes 10 to 20 seconds.
    """
    settings = folder / "users.ini"
    settings.write_text(_SETTINGS.format(folder=folder, user=USER, password=PASSWORD))
    port = _free_port()
    words = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", backend or f"sqlite:///{folder}/mlflow.db"]
    words += ["--artifacts-destination", str(folder / "artifacts")]
    words += ["--app-name", "basic-auth"] if users else []
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")} | {
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "for the tests",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    log = folder / "server.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *words],
            cwd=folder, env=environment, stdout=stream, stderr=stream, start_new_session=True,
        )  # fmt: skip
    server = TrackingServer(f"http://127.0.0.1:{port}", process.pid)
    try:
        _wait(server, process, log)
        yield server
    finally:
        # The server's workers are in the group of its own session.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _wait(server: TrackingServer, process: subprocess.Popen, log: Path) -> None:
    """Return when the server answers; raises `RuntimeError` with its log where it does not."""
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx2.get(f"{server.uri}/health", timeout=2).is_success:
                return
        except httpx2.TransportError:
            time.sleep(0.2)
    raise RuntimeError(f"the tracking server did not start:\n{log.read_text()}")


def figures_of(registry: Registry, version: Version) -> dict[str, float]:
    """Return the metrics that are linked to a version's logged model."""
    logged = registry._client.get_logged_model(version.logged_model)
    return {metric.key: metric.value for metric in logged.metrics}
