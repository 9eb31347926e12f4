"""One run at a time in a repository."""

from __future__ import annotations

import fcntl
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.core.disk import check_temporary, check_writable
from components.core.errors import BusyError
from components.core.paths import Workspace
from components.core.storage import keep_private
from flows.runner.supervisor import process_id


@contextmanager
def one_run(root: Path, what: str) -> Iterator[None]:
    """Hold the repository for the run `what`; raises `BusyError` naming the run that holds it, and
    `InterruptionError` where a folder that runs write to has no room or cannot be written.

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
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                f"another run works in {root}: {_holder(path)}. Wait until it is done, or end it"
            ) from error
        stream.truncate(0)
        json.dump({"run": what, "pid": process_id(), "host": socket.gethostname()}, stream)
        stream.flush()
        yield
        stream.truncate(0)


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"{holder['run']}, process {holder['pid']} on {holder['host']}"
    except (OSError, ValueError, KeyError):
        return "it has just begun"
