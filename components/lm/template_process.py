"""Chat templates are rendered in a process of their own: they come with checkpoints, as programs.

A request has `template`, `messages`, `add_generation_prompt` and `tokens`, the tokenizer's special
ones; the reply has `text` or `error`. With `literals` in place of messages, `text` is what
the template itself writes.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from subprocess import CalledProcessError
from typing import Any

from jinja2 import Template, TemplateError

from components.core.bounded_process import BoundedProcess, serve

SECONDS = 2.0  # of processor time for one request
MEMORY = 2**29  # bytes that the process may take beside its libraries
LONGEST, GROWTH = 1_000_000, 8  # characters of a rendered text, and as many for each one put in
# What the templates that ask for today's date are told, so that a prompt is the same tomorrow.
TODAY = datetime(2024, 7, 26)


class TemplateProcess(BoundedProcess):
    """The process that renders."""

    def __init__(self, seconds: float = SECONDS) -> None:
        super().__init__(__name__, seconds)

    def ask(self, request: Mapping[str, Any]) -> str:
        """Return the rendered text; raises `ValueError` with what is wrong with the template."""
        try:
            reply = super().ask(request)
        except CalledProcessError as ended:
            reason = f"the process that renders it ended with {ended.returncode}"
            if ended.returncode == -signal.SIGPROF:
                reason = f"it takes more than {self.seconds:g} seconds"
            raise ValueError(reason) from ended
        if "error" in reply:
            raise ValueError(reply["error"])
        return str(reply["text"])


PROCESS = TemplateProcess()


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
    """Render what is requested until there is no more."""
    _compiled("")  # loads the libraries before the memory is bounded
    serve(reply_to, MEMORY)
