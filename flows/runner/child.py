"""A child process in a group of its own, of which nothing outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_KILL_WITH_PARENT = Path(__file__).with_name("kill_with_parent.py")
_GRACE_SECONDS = 1.5  # less than the supervisor's, which ends this process


@contextmanager
def child_process(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], errors: int = subprocess.STDOUT
) -> Iterator[subprocess.Popen[str]]:
    """Yield a process with its output as text; nothing that it started is left afterwards.

    An exception within the block interrupts it first, and gives it a moment to end.
    """
    read_end, write_end = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-I", str(_KILL_WITH_PARENT), *command],
        cwd=cwd,
        env=env,
        stdin=read_end,
        stdout=subprocess.PIPE,
        stderr=errors,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
        umask=0o077,  # what it writes, such as DVC's cache, is its owner's alone
    )
    os.close(read_end)
    with child:
        try:
            yield child
        except BaseException:
            if child.poll() is None:
                # Interrupted, a stage removes its scratch files and DVC its lock.
                os.killpg(child.pid, signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    child.wait(_GRACE_SECONDS)
            raise
        finally:
            os.close(write_end)  # which ends whatever is left
