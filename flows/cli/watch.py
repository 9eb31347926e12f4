"""`safereact watch`: a champion measured again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from components.core.paths import open_workspace
from flows.cli.app import REJECTED, Json, Profile, print_json
from flows.cli.terminal import console, show_progress, wide_console

if TYPE_CHECKING:
    from components.studies.watch.result import Watch


def watch(
    profile: Profile = "tiny",
    production: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, exists=True, help="JSONL of prompts and completions people got."
        ),
    ] = None,
    upstream: Annotated[
        bool, typer.Option("--upstream", help="Ask the hub for the pair's commits.")
    ] = False,
    json: Json = False,
) -> None:
    """Measure a profile's champion again: drift since its promotion, none, or too little to tell.

    Exit code 3 unless it is known to do as well as then, and to keep the policy.
    """
    workspace = open_workspace(profile)
    from flows.runner.watching import watch_once

    file = production.absolute() if production else None
    with show_progress():
        found = watch_once(workspace, production=file, upstream=upstream)
    if json:
        standing = {"drift": found.drift, "below_policy": found.below_policy}
        print_json({**found.model_dump(), **standing})
    else:
        _print(found)
    if found.below_policy:
        again = f"below the policy: `safereact run --profile {profile}` trains and decides anew"
        console.print(again, style="red")
    if not found.holds:
        raise typer.Exit(REJECTED)


def _print(found: Watch) -> None:
    from flows.cli.tables import rate_cell

    table = Table("", "now", "at the promotion", "", "")
    for line in found.lines:
        then = rate_cell(line.then) if line.then else "not measured"
        how = "paired" if line.paired else "two samples"
        words = f"{line.why} ({how})" if line.then else line.why
        table.add_row(line.metric, rate_cell(line.now), then, str(line.conclusion), words)
    for rule in found.rules:
        table.add_row(rule.rule, "", "the policy", str(rule.conclusion), rule.why)
    wide_console().print(table)
    for note in found.notes:
        console.print(note, style="yellow")
    console.print(f"version {found.version}: {found.words}", style="bold")
