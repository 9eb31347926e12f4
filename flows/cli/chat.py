"""`safereact chat`: the post-trained model and the restored one answer the same line."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from components.core.environment import settle_environment
from components.core.errors import ModelError
from components.core.vocabulary import Arm
from flows.cli.app import open_registry
from flows.cli.followed import Followed
from flows.cli.terminal import ask_line, console, somebody_answers
from flows.cli.versions import Follow, Source, named_version

if TYPE_CHECKING:
    from components.core.vocabulary import Completion
    from components.registry.answering import Answering

_WIDE = 120  # columns from which on answers stand side by side


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
