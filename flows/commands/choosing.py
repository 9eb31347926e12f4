"""Profiles and suites: what is kept safe, and on what it is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from components.errors import ConfigError
from components.records import Role
from components.workspace import Workspace, find_root, open_workspace
from flows.door import (
    FileOption,
    FolderOption,
    ProfileOrNone,
    app,
    console,
    wide_console,
)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="The profile's new name.")],
    base: FolderOption = None,
    post_trained: FolderOption = None,
    harmful: FileOption = None,
    benign: FileOption = None,
    reasoning: FileOption = None,
    borderline: FileOption = None,
    licence: Annotated[str, typer.Option(help="SPDX id of the prompts.")] = "LicenseRef-own",
    checkpoints: Annotated[Path | None, typer.Option(help="Folder of both checkpoints.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="Folder of the prompt files.")] = None,
) -> None:
    """Add a profile of your own model pair and prompts, or list one that you wrote."""
    from flows.profiles import Pair, add_profile

    files = {
        Role.HARMFUL: harmful,
        Role.BENIGN: benign,
        Role.REASONING: reasoning,
        Role.BORDERLINE: borderline,
    }
    given = {role: path for role, path in files.items() if path}
    pair = None
    if base or post_trained or given:
        lacking = {Role.HARMFUL, Role.BENIGN, Role.REASONING} - given.keys()
        if not base or not post_trained or lacking:
            raise ConfigError(
                "a new profile needs --base, --post-trained, --harmful, --benign and --reasoning"
            )
        pair = Pair(base, post_trained, given, licence)
    workspace = Workspace(find_root(), name)
    written = add_profile(workspace, pair, checkpoints=checkpoints, prompts=prompts)
    told = ", ".join(path.relative_to(workspace.root).as_posix() for path in written)
    console.print(f"written: {told}; now: safereact run --profile {name}", highlight=False)


@app.command()
def profiles() -> None:
    """List the profiles."""
    from flows.profiles import list_profiles

    table = Table("profile", "listed", "description")
    for listing in list_profiles(find_root()):
        table.add_row(listing.name, "yes" if listing.listed else "no", listing.description)
    console.print(table)


@app.command()
def suites(profile: ProfileOrNone = None) -> None:
    """List the suites of test prompts and which are here; those of a profile as it sets them."""
    root = find_root()
    from flows.suites import list_suites, list_used, suites_table

    listings = list_suites(root) if profile is None else list_used(open_workspace(profile, root))
    if profile is not None and not listings:
        console.print(f"{profile} names no suite under prepare.suites; see docs/suites.md")
        return
    wide_console().print(suites_table(listings))
    for listing in listings:
        if listing.complaint:
            console.print(Text(listing.complaint), style="red")
