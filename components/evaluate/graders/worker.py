"""The process that compares expressions: started when first needed, ended when one takes too long.

A comparison has a limit of processor time, so that its result does not depend on what else the
machine does. It holds in any thread and on any expression, and its memory is bounded, too.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import selectors
import subprocess
import sys
import threading
from contextlib import suppress
from functools import lru_cache

from components.core.errors import EvidenceError
from components.evaluate.graders import expressions

log = logging.getLogger(__name__)

_COMMAND = f"from {expressions.__name__} import serve; serve()"
_WALL_SECONDS = 120  # for a machine that hardly gets to it


@lru_cache(maxsize=4096)
def equal(one: str, other: str, *, proportional: bool = False) -> bool:
    """Return whether two expressions in LaTeX are equal, exactly, or `proportional`.

    False also for what cannot be read, or not be worked out within the limits. Raises
    `EvidenceError` where the process that compares cannot be started.
    """
    return _worker().equal(one, other, proportional)


class _Worker:
    """One process, asked by one thread at a time."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._asking = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def equal(self, one: str, other: str, proportional: bool) -> bool:
        with self._asking:
            process = self._process or self._start()
            assert process.stdin is not None
            answer = ""
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps([one, other, proportional]) + "\n")
                process.stdin.flush()
                answer = _line(process)
            if not answer:
                log.debug("given up: %.80s = %.80s", one, other)
                self._end()
            return answer == "1"

    def _start(self) -> subprocess.Popen[str]:
        places = os.pathsep.join(place or os.getcwd() for place in sys.path)  # noqa: PTH109
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        environment = {**os.environ, "PYTHONPATH": places}
        process = self._process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND],
            stdin=pipe, stdout=pipe, stderr=null, text=True, env=environment,
        )  # fmt: skip
        if _line(process) != "ready":
            self._end()
            raise EvidenceError(
                "the process that compares mathematical answers did not start; is "
                "latex2sympy2_extended installed? `python -c 'import latex2sympy2_extended'` tells"
            )
        return process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        process.wait()

    def close(self) -> None:
        """End the process, if this one started it."""
        if self.owner == os.getpid():
            self._end()


_at_hand: list[_Worker] = []
_choosing = threading.Lock()


def _worker() -> _Worker:
    """Return the worker of this process: one that was copied by a fork is the parent's."""
    with _choosing:
        if not _at_hand or _at_hand[0].owner != os.getpid():
            _at_hand[:] = [_Worker()]
            atexit.register(_at_hand[0].close)
        return _at_hand[0]


def _line(process: subprocess.Popen[str]) -> str:
    """Return the next line that the process writes; an empty one where it ended, or writes nothing
    for very long."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        return process.stdout.readline().strip() if selector.select(_WALL_SECONDS) else ""
