"""A process that renders chat templates: requests on its input, replies on its output, a line of
JSON each.

A template comes with a checkpoint and is a program: it may loop for ever or ask for gigabytes in
one expression. So it runs in a process of its own, which the kernel ends when a request takes too
much processor time, and to which it gives so much memory and no more. That holds in every thread
of the one that asks, and for whatever a template computes.

A request has `template`, `messages`, `add_generation_prompt` and `tokens`, the tokenizer's special
ones; the reply has `text` or `error`. With `literals` in place of messages, `text` is what
the template itself writes.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import sys
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import Environment, Template, TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, LoopControlExtension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

SECONDS = 2.0  # of processor time for one request
MEMORY = 2**29  # bytes that the process may address
LONGEST, GROWTH = 1_000_000, 8  # characters of a rendered text, and as many for each one put in
# What the templates that ask for today's date are told, so that a prompt is the same tomorrow.
TODAY = datetime(2024, 7, 26)


class _Generation(Extension):
    """The tag `generation`, which marks what an assistant wrote; it writes nothing itself."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own form

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class _Namespace(Namespace):
    """jinja2's namespace without names that begin with an underscore."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        Namespace.__init__(*args, **kwargs)
        for name in dict(*args[1:], **kwargs):
            _check_name(name)

    def __setitem__(self, name: str, value: object) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: object) -> None:
    if str(name).startswith("_"):
        raise SecurityError(f"a namespace has no place for the name {name!r}")


def environment() -> Environment:
    """Return the environment that chat templates are written for, as transformers makes it.

    There is no chance in it and one date, `TODAY`.
    """
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, LoopControlExtension]
    )
    made.filters["tojson"] = _to_json
    made.globals.update(
        raise_exception=_raise,
        strftime_now=TODAY.strftime,
        namespace=_Namespace,
        dict=lambda *args, **kwargs: dict(*args, **kwargs),
    )
    del made.filters["random"], made.globals["lipsum"]
    return made


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise(message: str) -> None:
    raise TemplateError(f"it says: {message}")


@lru_cache(maxsize=8)
def _compiled(source: str) -> Template:
    return environment().from_string(source)


def render(request: dict[str, Any]) -> str:
    """Return what a request asks for; raises whatever the template does."""
    if request.get("literals"):
        return literals(request["template"])
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


def literals(source: str) -> str:
    """Return what a template can write of its own: its text and its constant strings, by line."""
    tree = environment().parse(source)
    found = [node.data for node in tree.find_all(nodes.TemplateData)]
    found += [node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)]
    return "\n".join(found)


def reply_to(line: str) -> dict[str, str]:
    """Return the reply to one request."""
    try:
        return {"text": render(json.loads(line))}
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
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # a kernel that knows no such limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        reply = json.dumps(reply_to(line))
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(reply + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
