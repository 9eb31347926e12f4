"""A process of our own that answers requests within limits, a line of JSON each way.

What others wrote, a template or a formula, may compute for ever or ask for gigabytes in one
expression. So the kernel ends the process when a request takes too much processor time, and gives
it so much memory and no more. That holds in every thread of the one that asks, and within C code.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast


class BoundedProcess:
    """The process, started when it is first asked; any thread may ask it.

    Its code is the function `main` of a module, which calls `serve`. A request may take `seconds`
    of processor time.
    """

    def __init__(self, module: str, seconds: float) -> None:
        self.code = f"from {module} import main; main()"
        self.seconds = seconds
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._owner = 0
        atexit.register(self.close)

    def ask(self, request: Any) -> Any:
        """Return the reply; raises `subprocess.CalledProcessError` where the process ended over the
        request, with the code that it ended with."""
        with self._lock:
            child = self._started()
            requests, replies = cast("IO[str]", child.stdin), cast("IO[str]", child.stdout)
            try:
                requests.write(json.dumps([self.seconds, request]) + "\n")
                requests.flush()
                line = replies.readline()
            except BrokenPipeError:
                line = ""
            except BaseException:  # interrupted half-way: its next reply would be the last one's
                self.close()
                raise
            if not line:
                self._child = None
                child.communicate()
                raise subprocess.CalledProcessError(child.returncode, self.code)
        return json.loads(line)

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
            places = os.pathsep.join(place or os.getcwd() for place in sys.path)  # noqa: PTH109
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-c", self.code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="ascii",
                env={**os.environ, "PYTHONPATH": places},
            )
        return self._child


def serve(answer: Callable[[Any], Any], memory: int) -> None:
    """Answer requests until there are no more, with `memory` bytes beside the libraries that are
    loaded by now; one that takes too long ends the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks is interrupted, and ends this
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # a kernel that knows no such limit
        own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (own + memory, own + memory))
    replies, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        seconds, request = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        reply = json.dumps(answer(request))
        signal.setitimer(signal.ITIMER_PROF, 0)
        replies.write(reply + "\n")
        replies.flush()
