"""What becomes of a registered adapter, and who signs for it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from components.core.errors import ConfigError
from components.core.paths import find_root, open_workspace
from components.core.untrusted_text import for_terminal
from flows.cli.app import By, Name, ProfileOrNone, Why, app, console, model_name


@app.command()
def promote(
    by: By,
    why: Why,
    name: Name = None,
    profile: ProfileOrNone = None,
    version: Annotated[str | None, typer.Option(help="Else the candidate.")] = None,
) -> None:
    """Make a registered version champion."""
    root, model = find_root(), model_name(name, profile)
    from components.registry import promotion
    from components.registry.mlflow_registry import Registry

    entry = promotion.promote(Registry(root), model, version, by=by, why=why)
    message = f"{model} version {entry.version} is champion ({entry.by}: {entry.why})"
    console.print(for_terminal(message))


@app.command()
def rollback(by: By, why: Why, name: Name = None, profile: ProfileOrNone = None) -> None:
    """Give `champion` back to the version that had it before."""
    root, model = find_root(), model_name(name, profile)
    from components.registry import promotion
    from components.registry.mlflow_registry import Registry

    entry = promotion.rollback(Registry(root), model, by=by, why=why)
    message = f"{model} version {entry.version} is champion again ({entry.by}: {entry.why})"
    console.print(for_terminal(message))


@app.command()
def override(
    profile: Annotated[str, typer.Option(help="Name of a file in profiles/.")],
    rule: Annotated[str, typer.Option(help="Name of the policy's rule.")],
    by: By,
    why: Why,
    until: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Last day, in UTC.")],
) -> None:
    """Sign that the adapter may go on although one rule of the gate does not hold."""
    workspace = open_workspace(profile)
    from components.gate.overrides import add_override
    from components.gate.result import Decision

    decision = Decision.load(workspace.stage("gate"))
    file = workspace.overrides
    signed = add_override(file, decision, rule=rule, who=by, why=why, until=until.date())
    message = (
        f"written: {file.relative_to(workspace.root)}: {rule!r} of adapter {signed.adapter:.12}"
    )
    console.print(f"{message}; now: safereact run --profile {profile}", highlight=False)


@app.command()
def pull(
    source: Annotated[str, typer.Argument(metavar="NAME@ALIAS", help="Alias or version.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New or empty folder.")],
) -> None:
    """Bring a registered adapter back, verified, ready for PEFT."""
    name, _, alias = source.partition("@")
    if not name or not alias:
        raise ConfigError(f"{source!r} is not NAME@ALIAS, such as tiny-safety@champion")
    root = find_root()
    from components.registry import promotion
    from components.registry.mlflow_registry import Registry

    version = promotion.pull(Registry(root), name, alias, folder.absolute())
    console.print(f"{name} version {version} is in {folder}; load it with PeftModel")


@app.command()
def champion(profile: Annotated[str, typer.Option(help="Name of a file in profiles/.")]) -> None:
    """Bring the champion that a profile's adapter is compared with, or note that there is none."""
    workspace = open_workspace(profile)
    from flows.runner.lock import one_run
    from flows.runner.registry import bring_own_champion, describe_champion

    with one_run(workspace.root, f"champion {profile}"):
        changed = bring_own_champion(workspace)
    console.print(f"{describe_champion(workspace)}: {'brought' if changed else 'here already'}")
