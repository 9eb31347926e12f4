"""PostgreSQL and an S3-compatible store of files as teams run them, each a real server of its own,
and the tracking server of mlflow/server/ on them."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests.root import ROOT
from tests.tracking import PASSWORD, USER, TrackingServer

KEY, SECRET = "ann", "a-long-secret-2"
_START_SECONDS = 180
_PORTS = [
    f"{part}.port{kind}" for part in ("s3", "filer", "master", "volume") for kind in ("", ".grpc")
]


def lacking() -> str:
    """Return what this machine lacks to run these servers; empty: nothing."""
    modules = ("psycopg2", "boto3", "dvc_s3")
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    programs = {"initdb": _postgres("initdb"), "weed": _weed()}
    missing += [name for name, path in programs.items() if path is None]
    if os.getuid() == 0 and not _servant():
        missing.append("a user `postgres` or `nobody`")
    return ", ".join(missing)


def _weed() -> str | None:
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("weed")


def _postgres(program: str) -> str | None:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    path = os.pathsep.join([*map(str, reversed(folders)), os.environ["PATH"]])
    return shutil.which(program, path=path)


def _servant() -> str | None:
    """Return a user who may run a database: PostgreSQL refuses root."""
    names = {user.pw_name for user in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), None)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _wait(process: subprocess.Popen, log: Path, ready: Callable[[], bool]) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        if ready():
            return
        time.sleep(0.3)
    raise RuntimeError(f"{process.args!r:.80} did not start:\n{log.read_text()[-3000:]}")


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Yield the address of a database that lies below `folder`, which others may pass through."""
    user = _servant() if os.getuid() == 0 else None
    folder.mkdir()
    if user:
        shutil.chown(folder, user)
    data, port, log = folder / "data", free_port(), folder / "log"
    words = [_postgres("initdb"), "-D", str(data), "-U", "mlflow", "--auth=trust", "--no-sync"]
    subprocess.run(words, user=user, cwd=folder, check=True, capture_output=True)
    words = [_postgres("postgres"), "-D", str(data), "-p", str(port), "-h", "127.0.0.1"]
    words += ["-k", "", "-c", "fsync=off"]
    with log.open("w") as stream:
        process = subprocess.Popen(words, user=user, cwd=folder, stdout=stream, stderr=stream)
    try:
        about = ["-h", "127.0.0.1", "-p", str(port), "-q"]
        ask = [_postgres("pg_isready"), *about]
        _wait(process, log, lambda: subprocess.run(ask, check=False).returncode == 0)
        yield f"postgresql+psycopg2://mlflow:trusted@127.0.0.1:{port}/postgres"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


@dataclass
class Files:
    """An S3-compatible store of files that can go away and come back with what it holds."""

    folder: Path
    ports: tuple[int, ...]
    process: subprocess.Popen | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    def environment(self) -> dict[str, str]:
        """Return what a client of the store needs."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": self.address,
            "MLFLOW_S3_ENDPOINT_URL": self.address,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def start(self) -> None:
        """Start it, and return when it answers."""
        words = [_weed(), "server", f"-dir={self.folder}", "-ip=127.0.0.1", "-s3", "-volume.max=20"]
        words += [f"-{name}={port}" for name, port in zip(_PORTS, self.ports, strict=True)]
        words += [
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64",
        ]
        log = self.folder / "log"
        with log.open("a") as stream:
            self.process = subprocess.Popen(
                words, cwd=self.folder, env={**os.environ, **self.environment()},
                stdout=stream, stderr=stream,
            )  # fmt: skip
        _wait(self.process, log, self._answers)

    def _answers(self) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self.use("ready")
        except (BotoCoreError, ClientError):
            return False
        return True

    def use(self, bucket: str) -> None:
        """Write into a bucket, which is made where it is not there yet."""
        from boto3 import client

        keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET}
        store = client("s3", endpoint_url=self.address, region_name="us-east-1", **keys)
        if bucket not in {found["Name"] for found in store.list_buckets()["Buckets"]}:
            store.create_bucket(Bucket=bucket)
        store.put_object(Bucket=bucket, Key="ready", Body=b"ready")

    def stop(self) -> None:
        """Let it go away as in a crash."""
        if self.process:
            self.process.kill()
            self.process.wait()


@contextmanager
def files(folder: Path) -> Iterator[Files]:
    """Yield a store of files that lies below `folder`."""
    folder.mkdir()
    store = Files(folder, tuple(free_port() for _ in _PORTS))
    store.start()
    try:
        yield store
    finally:
        store.stop()


@contextmanager
def team_server(folder: Path, database: str, store: Files) -> Iterator[TrackingServer]:
    """Yield the tracking server that mlflow/server/start.sh starts on a database and a store."""
    folder.mkdir()
    port, log = free_port(), folder / "log"
    own = {
        "MLFLOW_BACKEND_STORE_URI": database,
        "MLFLOW_ARTIFACTS_DESTINATION": "s3://mlflow/artifacts",
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"127.0.0.1:{port}",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "for the tests, and always the same",
        "MLFLOW_AUTH_ADMIN_USERNAME": USER,
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "STATE": str(folder / "state"),
        "PORT": str(port),
        "WORKERS": "1",
        "PYTHON": sys.executable,
    }
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    with log.open("w") as stream:
        process = subprocess.Popen(
            [ROOT / "mlflow" / "server" / "start.sh"], cwd=folder, stdout=stream, stderr=stream,
            env={**clean, **store.environment(), **own}, start_new_session=True,
        )  # fmt: skip
    server = TrackingServer(f"http://127.0.0.1:{port}", process.pid)

    def answers() -> bool:
        try:
            return httpx2.get(f"{server.uri}/health", timeout=5).is_success
        except httpx2.TransportError:
            return False

    try:
        _wait(process, log, answers)
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
