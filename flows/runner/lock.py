"""One run at a time in a repository."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from components.core.disk import check_temporary, check_writable
from components.core.errors import BusyError
from components.core.paths import Workspace
from components.core.storage import keep_private
from flows.runner.supervisor import process_id

_PAUSE = 5.0  # seconds between two looks at a lock that is waited for
_SCRATCH = "safereact-"  # how a run's folder of temporary files begins

log = logging.getLogger(__name__)


@contextmanager
def one_run(root: Path, what: str, *, waits: bool = False) -> Iterator[None]:
    """Hold the repository for the run `what`, which `waits` for another one that does.

    Else raises `BusyError` naming that one; and `InterruptionError` where a folder that runs write
    to has no room or cannot be written.

    The system gives the lock back when its holder ends, however it ends, so there are no stale
    locks; the file only tells who holds it, and where its temporary files lie: those of a run that
    was killed are removed by the next.
    """
    workspace = Workspace(root, "")
    check_temporary()
    check_writable(workspace.written)
    for folder in workspace.private:
        keep_private(folder)
    path = workspace.run_lock
    with path.open("a+", encoding="utf-8") as stream:
        while not _is_held(stream):
            busy = f"another run works in {root}: {_holder(path)}. Wait until it is done, or end it"
            if not waits:
                raise BusyError(busy)
            log.info("[lock] %s", busy)
            time.sleep(_PAUSE)
        _remove_scratch(path)
        scratch = Path(tempfile.gettempdir()) / f"{_SCRATCH}{uuid.uuid4().hex[:12]}"
        stream.truncate(0)
        holder = {"run": what, "pid": process_id(), "host": socket.gethostname()}
        json.dump({**holder, "scratch": str(scratch)}, stream)
        stream.flush()
        try:
            with _temporary_files(scratch):
                yield
        finally:
            stream.truncate(0)


def _is_held(stream: IO[str]) -> bool:
    """Take the lock, and return whether this process now holds it."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _temporary_files(folder: Path) -> Iterator[None]:
    """Let this process, and those that it starts, put temporary files into `folder`, and remove it
    at the end."""
    before, inherited = tempfile.tempdir, os.environ.get("TMPDIR")
    folder.mkdir(0o700)
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
        os.environ.pop("TMPDIR")
        os.environ |= {"TMPDIR": inherited} if inherited else {}
        shutil.rmtree(folder, ignore_errors=True)


def _remove_scratch(lock: Path) -> None:
    """Remove the temporary files of a run on this machine that did not come to its end."""
    left = said_in(lock)
    folder = Path(left.get("scratch", ""))
    ours = re.fullmatch(rf"{_SCRATCH}[0-9a-f]{{12}}", folder.name)
    if ours and left["host"] == socket.gethostname():
        shutil.rmtree(folder, ignore_errors=True)


def _holder(lock: Path) -> str:
    holder = said_in(lock)
    if not holder:
        return "it has just begun"
    return f"{holder['run']}, process {holder['pid']} on {holder['host']}"


def said_in(lock: Path) -> dict[str, Any]:
    """Return what the run that holds a repository says of itself, or one that was killed said;
    empty: none does, or one that has just begun or ended."""
    with suppress(OSError, ValueError):
        said: dict[str, Any] = json.loads(lock.read_text(encoding="utf-8"))
        return said
    return {}
