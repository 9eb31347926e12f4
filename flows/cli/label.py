"""The command in which people say what completions do."""

from __future__ import annotations

from typing import Annotated

import typer

from components.core.paths import open_workspace
from flows.cli.app import Profile
from flows.cli.terminal import ask_line, console


def label(
    profile: Profile,
    by: Annotated[str, typer.Option(help="Who labels.")],
    suite: Annotated[str | None, typer.Option(help="One suite alone.")] = None,
    again: Annotated[bool, typer.Option(help="Texts that others labelled.")] = False,
    count: Annotated[int, typer.Option(min=1, help="Texts of this call at most.")] = 100_000,
) -> None:
    """Say what completions do, not knowing whose they are; figures are corrected by it."""
    workspace = open_workspace(profile)
    from flows.cli.labelling import Terminal, label_completions

    terminal = Terminal(console.print, ask_line)
    label_completions(workspace, terminal, by=by, suite=suite, again=again, count=count)
