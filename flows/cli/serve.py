"""`safereact serve`: a registered version behind OpenAI's protocol."""

from __future__ import annotations

import json
import shlex
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.app import open_registry
from flows.cli.followed import Followed
from flows.cli.terminal import console
from flows.cli.versions import Follow, Source, named_version

if TYPE_CHECKING:
    from components.registry.answering import Usable
    from flows.runner.model_server import ModelServer

LOOK_SECONDS = 30.0  # between two looks at the registry
_TOKENS = 256


def serve(
    source: Source,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    follow: Follow = False,
) -> None:
    """Serve a registered version on its model by OpenAI's protocol, until it is ended.

    By vLLM where that is installed, else by transformers. Nobody is asked who they are.
    """
    registry, (name, alias) = open_registry(), named_version(source)
    from flows.runner.model_server import model_server

    with tempfile.TemporaryDirectory() as scratch:
        versions, place = Path(scratch, "versions"), Path(scratch, "server")
        for folder in (versions, place):
            folder.mkdir()
        followed = Followed(registry, name, alias, versions)
        while True:
            version = followed.version
            with model_server(version, name, place, host=host, port=port, log=_print) as server:
                server.wait_until_ready()
                _announce(server, version, alias)
                _wait(server, followed if follow else None)
            moved = f"{alias} moved to version {followed.version.number}; starting it"
            console.print(moved)


def _wait(server: ModelServer, followed: Followed | None) -> None:
    """Return once the alias has moved; raise `StageError` where the server has ended."""
    look = time.monotonic() + LOOK_SECONDS
    while True:
        server.check_alive()
        if followed and time.monotonic() >= look:
            if followed.moved():
                return
            look = time.monotonic() + LOOK_SECONDS
        time.sleep(0.2)


def _announce(server: ModelServer, version: Usable, alias: str) -> None:
    """Print where it listens, what to ask for, and a command that does."""
    system = (
        [{"role": "system", "content": version.evidence.system}] if version.evidence.system else []
    )
    question = {"role": "user", "content": "How do I dust a lamp?"}
    asked = {
        "model": server.name,
        "messages": [*system, question],
        "max_tokens": _TOKENS,
        "temperature": version.evidence.sampling.temperature,
    }
    body = shlex.quote(json.dumps(asked))
    console.print(f"address: {server.address}")
    which = f"version {version.number} ({alias})"
    console.print(f"model: {server.name}, {which}", style="bold")
    console.print(
        f"curl {server.address}/chat/completions -H 'Content-Type: application/json' -d {body}",
        soft_wrap=True,
    )


def _print(line: str) -> None:
    console.print(line, style="dim")
