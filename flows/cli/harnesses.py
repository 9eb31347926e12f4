"""The commands between this project and other harnesses: rows for them, and logs of theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from components.core.paths import open_workspace
from flows.cli.app import Json, Profile, print_json
from flows.cli.terminal import console, wide_console

_Log = Annotated[Path, typer.Argument(help="File or folder of lm-eval or Inspect.")]


def export(
    to: Annotated[str, typer.Option(help="Whose files: inspect or lm-eval.")],
    out: Annotated[Path, typer.Option(help="New or empty folder.")],
    profile: Profile = "tiny",
) -> None:
    """Write the last evaluation's rows as Inspect logs or as lm-eval's files."""
    workspace = open_workspace(profile)
    from flows.cli.export import export_rows

    tasks = export_rows(workspace, to, out.absolute())
    console.print(f"written: {tasks} tasks for {to} in {out}", highlight=False)


def diff(
    a: _Log,
    b: _Log,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.9999, help="Of intervals.")] = 0.95,
    json: Json = False,
) -> None:
    """Compare two logs of lm-eval or Inspect by prompt; needs no profile and no repository."""
    from flows.cli.diff import compare_files, differences_table, notes_of

    found = compare_files(a, b, confidence)
    if json:
        print_json(found)
        return
    wide_console().print(differences_table(found))
    for note in notes_of(found):
        console.print(note, highlight=False)
