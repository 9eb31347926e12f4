"""Requests to the process that renders chat templates, from any thread."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from components.lm import template_process


class TemplateProcess:
    """The process that renders, started when it is first asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._owner = 0

    def ask(self, request: Mapping[str, Any]) -> str:
        """Return the rendered text; raises `ValueError` with what is wrong with the template."""
        with self._lock:
            child = self._started()
            try:
                child.stdin.write(json.dumps(request) + "\n")  # type: ignore[union-attr]
                child.stdin.flush()  # type: ignore[union-attr]
                line = child.stdout.readline()  # type: ignore[union-attr]
            except BrokenPipeError:
                line = ""
            except BaseException:  # interrupted half-way: its next reply would be the last one's
                self.close()
                raise
            if not line:
                raise ValueError(self._death(child))
        reply = json.loads(line)
        if "error" in reply:
            raise ValueError(reply["error"])
        return str(reply["text"])

    def close(self) -> None:
        """End the process, if this one started it."""
        child, self._child = self._child, None
        if child is not None and self._owner == os.getpid():
            child.kill()
            child.communicate()

    def _started(self) -> subprocess.Popen[str]:
        # The parent's process is not a forked worker's to talk to.
        if self._child is None or self._child.poll() is not None or self._owner != os.getpid():
            self._owner = os.getpid()
            self._child = subprocess.Popen(
                [sys.executable, "-P", template_process.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="ascii",
            )
        return self._child

    def _death(self, child: subprocess.Popen[str]) -> str:
        self._child = None
        child.communicate()
        if child.returncode == -signal.SIGPROF:
            return f"it takes more than {template_process.SECONDS:.0f} seconds"
        return f"the process that renders it ended with {child.returncode}"


PROCESS = TemplateProcess()
atexit.register(PROCESS.close)


@lru_cache(maxsize=64)
def ask_once(request: str) -> str:
    return PROCESS.ask(json.loads(request))
