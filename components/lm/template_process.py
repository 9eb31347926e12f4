"""Chat templates are rendered in a process of their own: requests on its input, replies on its
output, a line of JSON each.

A template comes with a checkpoint and is a program: it may loop for ever or ask for gigabytes in
one expression. So the kernel ends the process when a request takes too much processor time, and
gives it so much memory and no more. That holds in every thread of the one that asks, and for
whatever a template computes.

A request has `template`, `messages`, `add_generation_prompt` and `tokens`, the tokenizer's special
ones; the reply has `text` or `error`. With `literals` in place of messages, `text` is what
the template itself writes.
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
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, cast

from jinja2 import Template, TemplateError

SECONDS = 2.0  # of processor time for one request
MEMORY = 2**29  # bytes that the process may take beside its libraries
LONGEST, GROWTH = 1_000_000, 8  # characters of a rendered text, and as many for each one put in
# What the templates that ask for today's date are told, so that a prompt is the same tomorrow.
TODAY = datetime(2024, 7, 26)


class TemplateProcess:
    """The process that renders, started when it is first asked; any thread may ask it."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._owner = 0

    def ask(self, request: Mapping[str, Any]) -> str:
        """Return the rendered text; raises `ValueError` with what is wrong with the template."""
        with self._lock:
            child = self._started()
            requests, replies = cast("IO[str]", child.stdin), cast("IO[str]", child.stdout)
            try:
                requests.write(json.dumps({"seconds": self.seconds, **request}) + "\n")
                requests.flush()
                line = replies.readline()
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
                [sys.executable, "-P", __file__],
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
            return f"it takes more than {self.seconds:g} seconds"
        return f"the process that renders it ended with {child.returncode}"


PROCESS = TemplateProcess()
atexit.register(PROCESS.close)


@lru_cache(maxsize=8)
def _compiled(source: str) -> Template:
    """Return a template in transformers' own environment for them, without chance, on one day."""
    from transformers.utils.chat_template_utils import _compile_jinja_template

    environment = _compile_jinja_template("").environment
    environment.globals["strftime_now"] = TODAY.strftime
    for place, chance in ((environment.filters, "random"), (environment.globals, "lipsum")):
        place.pop(chance, None)
    compiled: Template = environment.from_string(source)
    return compiled


def render(request: dict[str, Any]) -> str:
    """Return what a request asks for; raises whatever the template does."""
    if request.get("literals"):
        from transformers.utils.chat_template_utils import _get_template_literal_text

        return str(_get_template_literal_text(request["template"]))
    messages = request["messages"]
    room = LONGEST + GROWTH * sum(len(message["content"]) for message in messages)
    parts = []
    for part in _compiled(request["template"]).generate(
        messages=messages,
        tools=None,
        documents=None,
        add_generation_prompt=request["add_generation_prompt"],
        **request["tokens"],
    ):
        room -= len(part)
        if room < 0:
            raise MemoryError
        parts.append(part)
    return "".join(parts)


def reply_to(request: dict[str, Any]) -> dict[str, str]:
    """Return the reply to one request."""
    try:
        return {"text": render(request)}
    except MemoryError:
        return {"error": "it writes without end, or needs more than half a gigabyte of memory"}
    except RecursionError:
        return {"error": "it calls itself without end"}
    except TemplateError as error:
        at = getattr(error, "lineno", None)
        return {"error": f"{error}" if at is None else f"line {at}: {error}"}
    except Exception as error:  # noqa: BLE001 - a template may raise anything
        return {"error": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Answer requests until there are no more; one that takes too long ends the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks is interrupted, and ends this
    _compiled("")  # loads the libraries before the memory is bounded
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # a kernel that knows no such limit
        own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (own + MEMORY, own + MEMORY))
    for line in sys.stdin:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, request["seconds"])
        reply = json.dumps(reply_to(request))
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(reply + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
