"""The commands in which a registered version answers: `serve` by OpenAI's protocol, `chat` line by
line; each goes over to the next version where the alias moves and that is asked for."""

from __future__ import annotations

import json
import shlex
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from components.core.environment import settle_environment
from components.core.errors import ModelError, RegistryError
from components.core.untrusted_text import for_terminal
from components.core.vocabulary import Arm
from flows.cli.app import open_registry
from flows.cli.terminal import ask_line, console, somebody_answers
from flows.cli.versions import Follow, Source, named_version

if TYPE_CHECKING:
    from components.core.vocabulary import Completion
    from components.registry.answering import Answering, Usable
    from components.registry.mlflow_registry import Model, Registry
    from flows.runner.model_server import ModelServer

LOOK_SECONDS = 30.0  # between two looks at the registry
_TOKENS = 256
_WIDE = 120  # columns from which on answers stand side by side


class Followed:
    """A version that was brought and verified, under the alias that named it."""

    def __init__(self, registry: Registry, name: str, alias: str, folder: Path) -> None:
        """Bring it below `folder`. Raises as `bring_version` does."""
        self._registry, self._folder = registry, folder
        self.name, self._alias = name, alias
        self._told = ""  # why another version could not be used, said once
        self.version = self._bring()

    def _bring(self) -> Usable:
        from components.registry.answering import bring_version

        folder = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            return bring_version(self._registry, self.name, self._alias, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def moved(self) -> bool:
        """Return whether the alias names another version now, which has been brought.

        A registry that does not answer, and a version that cannot be used, are said, and what is
        there stays until the next look. Raises `RegistryError` where the alias is gone, and where
        what is there was withdrawn: what people took out of use is not used any more.
        """
        from components.registry.history import number_of

        try:
            model = self._registry.model(self.name)
        except RegistryError as error:
            console.print(for_terminal(str(error)), style="yellow")
            return False
        number = number_of(model, self._alias)
        if number == self.version.number:
            self._check_in_use(model)
            return False
        try:
            self.version = self._bring()
        except (RegistryError, ModelError) as error:
            self._check_in_use(model)
            self._say(error)
            return False
        return True

    def _check_in_use(self, model: Model) -> None:
        """Raise `RegistryError` where the version that is there was withdrawn; of a history that is
        not whole nobody can tell, and it is said."""
        from components.registry.changes import WITHDRAWN, chain_of, refusal_of

        try:
            changes = chain_of(model.tags).changes
        except RegistryError as error:
            self._say(error)
            return
        refusal = refusal_of(changes, self.version.number, self.version.evidence.adapter)
        if refusal and refusal.event == WITHDRAWN:
            raise RegistryError(f"{self.name} version {self.version.number} was {refusal}")

    def _say(self, error: Exception) -> None:
        """Say, once, why the version that is there stays."""
        told = for_terminal(f"{error}; version {self.version.number} stays")
        if told != self._told:
            console.print(told, style="red")
        self._told = told


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


def chat(
    source: Source,
    follow: Follow = False,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens an answer.")] = 256,
) -> None:
    """Ask a registered version, and its model without the adapter, line by line.

    Each line is asked by itself, as in the evaluation. An end of input or Ctrl-C ends it; exit code
    1 where lines came from a pipe or a file, and none was asked or some were not answered.
    """
    registry, (name, alias) = open_registry(), named_version(source)
    settle_environment()
    from components.registry.answering import Answering

    with tempfile.TemporaryDirectory() as scratch:
        followed = Followed(registry, name, alias, Path(scratch))
        answering = Answering(followed.version)
        console.print(f"{name} version {followed.version.number} ({alias})")
        answered: list[bool] = []
        while (line := _next_line()) is not None:
            if follow and followed.moved():
                answering.become(followed.version)
                moved = f"{alias} moved: version {followed.version.number} answers"
                console.print(moved, style="yellow")
            if line:
                answered.append(_answer(answering, line, max_new_tokens))
        check_answered(answered)


def check_answered(answered: list[bool]) -> None:
    """Raise `ModelError` unless all lines were answered; a person has seen which were not."""
    if somebody_answers() or (answered and all(answered)):
        return
    failed = f"{answered.count(False)} of {len(answered)} lines were not answered; see above"
    raise ModelError(failed if answered else "the input has no line, so nothing was asked")


def _next_line() -> str | None:
    """Return the next line that a person or a program writes; None at the end."""
    try:
        return ask_line("> " if somebody_answers() else "").strip()
    except EOFError:
        return None


def _answer(answering: Answering, line: str, tokens: int) -> bool:
    """Show the answers of both models to a line; return whether there are any."""
    try:
        with answering.without_adapter():
            plain = answering.answer([line], tokens, answering.version.evidence.sampling)
        restored = answering.answer([line], tokens, answering.version.evidence.sampling)
    except ModelError as error:
        console.print(str(error), style="yellow")
        return False
    found = {
        arm: _text(completions[0])
        for arm, completions in ((Arm.POST_TRAINED, plain), (Arm.RESTORED, restored))
    }
    if console.is_terminal and console.width >= _WIDE:
        table = Table(*found, expand=True)
        for column in table.columns:
            column.ratio = 1
        table.add_row(*found.values())
        console.print(table)
        return True
    for arm, text in found.items():
        console.print(f"{arm}:", style="bold")
        console.print(text)
    return True


def _text(completion: Completion) -> str:
    """Return an answer without its thought, and what cut it short."""
    if completion.finished:
        return completion.answer
    where = "in its answer" if completion.closed else "in its thought"
    return f"{completion.answer} … (cut {where} after {completion.tokens} tokens)".strip()
