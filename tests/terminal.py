"""A command in a pseudo-terminal of its own, as a person has it before them."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

_MARK = "SAFEREACT_TEST_MARK"
# The command line, which is given longer to end in an orderly way: a busy machine takes longer.
COMMAND_LINE = (
    "from flows.runner import supervisor; supervisor._GRACE_SECONDS = 60;"
    "from flows.cli.main import main; main()"
)


class Session:
    """`safereact WORDS`, or other `code`, with a terminal that it controls; its errors go to a pipe
    beside it."""

    def __init__(
        self, *words: str, code: str = COMMAND_LINE, cwd: Path | None = None, **environment: str
    ) -> None:
        self._mark, self._output = uuid.uuid4().hex, bytearray()
        self._keyboard, terminal = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            cwd=cwd,
            env={**os.environ, _MARK: self._mark, **environment},
            stdin=terminal,
            stdout=terminal,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(terminal)
        self._closing = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with suppress(OSError):  # nobody has the terminal any more
            while not self._closing.is_set():
                if select.select([self._keyboard], [], [], 0.05)[0]:
                    self._output += os.read(self._keyboard, 4096)

    @property
    def output(self) -> str:
        """What is on the terminal so far."""
        return self._output.decode(errors="replace")

    def wait_for(self, seen: Callable[[], bool], seconds: float = 480) -> None:
        """Return once `seen` holds; fails where the command ends before."""
        latest = time.monotonic() + seconds
        while not seen():
            assert self.process.poll() is None, self.output[-1000:]
            assert time.monotonic() < latest, self.output[-1000:]
            time.sleep(0.02)

    def press(self, key: bytes) -> None:
        """Press a key."""
        os.write(self._keyboard, key)

    def close(self) -> None:
        """Close the terminal, as by its window: it is closed only once nobody reads it."""
        self._closing.set()
        self._reader.join()
        os.close(self._keyboard)

    def ended(self) -> tuple[int, str, float]:
        """Return exit code, errors and how long the end took from now."""
        begin = time.monotonic()
        _, errors = self.process.communicate(timeout=150)
        return self.process.returncode, errors.decode(), time.monotonic() - begin

    def left(self) -> list[psutil.Process]:
        """Return the processes that this command has started and that still run."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            gone = process.status() == psutil.STATUS_ZOMBIE
            return not gone and process.environ().get(_MARK) == self._mark
        except psutil.Error:
            return False
