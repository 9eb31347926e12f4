"""One run at a time in a repository."""

from __future__ import annotations

import fcntl
import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from components.core.disk import check_temporary, check_writable
from components.core.errors import BusyError
from components.core.paths import Workspace
from components.core.storage import keep_private
from flows.runner.supervisor import process_id

_PAUSE = 5.0  # seconds between two looks at a lock that is waited for

log = logging.getLogger(__name__)


@contextmanager
def one_run(root: Path, what: str, *, waits: bool = False) -> Iterator[None]:
    """Hold the repository for the run `what`, which `waits` for another one that does.

    Else raises `BusyError` naming that one; and `InterruptionError` where a folder that runs write
    to has no room or cannot be written.

    The system gives the lock back when its holder ends, however it ends, so there are no stale
    locks; the file only tells who holds it.
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
        stream.truncate(0)
        json.dump({"run": what, "pid": process_id(), "host": socket.gethostname()}, stream)
        stream.flush()
        yield
        stream.truncate(0)


def _is_held(stream: IO[str]) -> bool:
    """Take the lock, and return whether this process now holds it."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"{holder['run']}, process {holder['pid']} on {holder['host']}"
    except (OSError, ValueError, KeyError):
        return "it has just begun"
