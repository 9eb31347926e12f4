"""Profiles and suites: what is kept safe, and on what it is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.table import Table
from rich.text import Text

from components.core.errors import ConfigError
from components.core.paths import Workspace, find_root, open_workspace
from components.core.vocabulary import Role
from components.prepare.settings import PromptField
from flows.cli.app import FileOption, ProfileOrNone, app, console, wide_console

_CHECKPOINT = "Folder, or hub OWNER/NAME@COMMIT."
_COLUMN = "Column of a prompt's field, where it has another name."


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="The profile's new name.")],
    base: Annotated[str | None, typer.Option(help=_CHECKPOINT)] = None,
    post_trained: Annotated[str | None, typer.Option(help=_CHECKPOINT)] = None,
    harmful: FileOption = None,
    benign: FileOption = None,
    reasoning: FileOption = None,
    borderline: FileOption = None,
    column: Annotated[list[str] | None, typer.Option(metavar="FIELD=NAME", help=_COLUMN)] = None,
    licence: Annotated[str, typer.Option(help="SPDX id of the prompts.")] = "LicenseRef-own",
    checkpoints: Annotated[Path | None, typer.Option(help="Folder of both checkpoints.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="Folder of the prompt files.")] = None,
) -> None:
    """Add a profile of your own model pair and prompts, or list one that you wrote."""
    from flows.cli.profiles import Pair, add_profile, name_checkpoint

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
        pair = Pair(
            name_checkpoint(base, option="--base"),
            name_checkpoint(post_trained, option="--post-trained"),
            given,
            licence,
            _columns(column or []),
        )
    workspace = Workspace(find_root(), name)
    written = add_profile(workspace, pair, checkpoints=checkpoints, prompts=prompts)
    names = ", ".join(path.relative_to(workspace.root).as_posix() for path in written)
    console.print(f"written: {names}; now: safereact doctor --profile {name}", highlight=False)


def _columns(given: list[str]) -> dict[PromptField, str]:
    """Return the columns of `--column FIELD=NAME`; raises `ConfigError` for another field."""
    columns: dict[PromptField, str] = {}
    for text in given:
        name, _, column = text.partition("=")
        known = next((one for one in get_args(PromptField) if one == name), None)
        if known is None or not column:
            allowed = ", ".join(get_args(PromptField))
            raise ConfigError(f"--column {text!r} is not FIELD=NAME with a field of {allowed}")
        columns[known] = column
    return columns


@app.command()
def profiles() -> None:
    """List the profiles."""
    from flows.cli.profiles import list_profiles

    table = Table("profile", "listed", "description")
    for listing in list_profiles(find_root()):
        table.add_row(listing.name, "yes" if listing.listed else "no", listing.description)
    console.print(table)


@app.command()
def suites(profile: ProfileOrNone = None) -> None:
    """List the suites of test prompts and which are here; those of a profile as it sets them."""
    root = find_root()
    from flows.cli.suites import list_suites, list_used, suites_table

    listings = list_suites(root) if profile is None else list_used(open_workspace(profile, root))
    if profile is not None and not listings:
        console.print(f"{profile} names no suite under prepare.suites; see docs/suites.md")
        return
    wide_console().print(suites_table(listings, root))
    for listing in listings:
        if listing.complaint:
            console.print(Text(listing.complaint), style="red")
