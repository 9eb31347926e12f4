"""The commands by which people decide about registered versions, and look at what was decided."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from components.core.errors import SafeReActError
from components.core.paths import open_workspace
from components.core.untrusted_text import for_terminal
from flows.cli.app import (
    By,
    Json,
    Name,
    Profile,
    ProfileOrNone,
    Why,
    model_name,
    open_registry,
    print_json,
)
from flows.cli.terminal import ask_line, console
from flows.cli.versions import Source, named_version

if TYPE_CHECKING:
    from components.registry.changes import Change

_Despite = Annotated[
    int | None,
    typer.Option(
        metavar="NUMBER", help="Rejection or withdrawal that does not count, as `history` has it."
    ),
]


def promote(
    by: By,
    why: Why,
    name: Name = None,
    profile: ProfileOrNone = None,
    version: Annotated[str | None, typer.Option(help="Else the candidate.")] = None,
    despite: _Despite = None,
) -> None:
    """Make a registered version champion."""
    registry, model = open_registry(), model_name(name, profile)
    from components.registry import promotion

    change = promotion.promote(registry, model, version, by=by, why=why, despite=despite)
    _print_change(model, change, "champion")


def rollback(
    by: By, why: Why, name: Name = None, profile: ProfileOrNone = None, despite: _Despite = None
) -> None:
    """Give `champion` back to the version that had it before."""
    registry, model = open_registry(), model_name(name, profile)
    from components.registry import promotion

    change = promotion.rollback(registry, model, by=by, why=why, despite=despite)
    _print_change(model, change, "champion again")


def reject(source: Source, by: By, why: Why) -> None:
    """Turn down a candidate: the version is no candidate any more."""
    registry, (model, alias) = open_registry(), named_version(source)
    from components.registry import promotion

    change = promotion.reject(registry, model, alias, by=by, why=why)
    _print_change(model, change, f"no candidate: {change.event}")


def withdraw(source: Source, by: By, why: Why) -> None:
    """Withdraw a version for what it does: it is neither candidate nor champion any more."""
    registry, (model, alias) = open_registry(), named_version(source)
    from components.registry import promotion
    from components.registry.mlflow_registry import CHAMPION

    change = promotion.withdraw(registry, model, alias, by=by, why=why)
    champion = registry.model(model).aliases.get(CHAMPION)
    _print_change(model, change, f"withdrawn; champion: {champion or 'none'}")


def _print_change(model: str, change: Change, state: str) -> None:
    message = f"{model} version {change.version} is {state} ({change.who}: {change.why})"
    console.print(for_terminal(message))


def history(
    name: Annotated[str, typer.Argument(help="Registered model.")], json: Json = False
) -> None:
    """List who promoted, rolled back, rejected and withdrew which version; exit with 1 where the
    list is not whole or not the one that was signed."""
    registry = open_registry()
    from components.registry.changes import ROLLED_BACK, listed
    from components.registry.signatures import KEYS, known_keys
    from components.registry.verification import signed_history

    changes = listed(registry.model(name).tags)
    for change in changes:
        event = "rolled back to" if change.event == ROLLED_BACK else change.event
        despite = f" despite change {change.despite}" if change.despite else ""
        line = f"{change.number} {change.when[:16]} {event} version {change.version}{despite}"
        console.print(for_terminal(f"{line}, {change.who}: {change.why}"))
    try:
        chain, heads, broken = signed_history(registry, name)
    except SafeReActError as error:
        if json:
            print_json({"changes": changes, "problem": str(error)})
        raise
    if json:
        found = {"changes": changes, "head": chain.head, "signed": heads, "damaged": broken}
        print_json(found)
    signed = ", ".join(f"{by} up to change {chain.digests.index(head)}" for by, _, head in heads)
    unsigned = "not" if known_keys(registry.root) else f"not looked for, no key lies in {KEYS}"
    whole = f"whole: {chain.size}, head {chain.head:.12}"
    console.print(for_terminal(f"{whole}; signed: {signed or unsigned}"))
    for one in broken:
        console.print(for_terminal(one), style="yellow")


def audit(
    source: Annotated[str, typer.Argument(metavar="NAME[@ALIAS]")], json: Json = False
) -> None:
    """Go from the champion, or another version, through all that it rests on, a line each; exit
    with 1 at the first that does not hold."""
    registry = open_registry()
    from components.registry.audit import BrokenLink, audit_version
    from components.registry.mlflow_registry import CHAMPION

    name, alias = named_version(source if "@" in source else f"{source}@{CHAMPION}")
    links = []
    try:
        for link in audit_version(registry, name, alias):
            console.print(for_terminal(f"{link.name}: {link.found}"))
            links.append({**link._asdict(), "holds": True})
    except BrokenLink as error:
        if json:  # of what ended otherwise the links so far would look like all of them
            print_json([*links, {**error.link._asdict(), "holds": False}])
        raise
    if json:
        print_json(links)


def override(
    profile: Profile,
    rule: Annotated[str, typer.Option(help="Name of the policy's rule.")],
    by: By,
    why: Why,
    until: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Last day, in UTC.")],
) -> None:
    """Sign that the adapter may go on although one rule of the gate does not hold."""
    workspace = open_workspace(profile)
    from components.gate.overrides import add_override
    from components.gate.result import Decision
    from components.registry.mlflow_registry import Registry

    file, decision = workspace.overrides, Decision.load(workspace.stage("gate"))
    user = Registry(workspace.root).user()
    signed = add_override(file, decision, rule=rule, who=by, why=why, until=until.date(), user=user)
    about = f"{rule!r} of adapter {signed.adapter:.12}, by {signed.signer}"
    written = f"{file.relative_to(workspace.root)}: {about}"
    console.print(f"written: {written}; now: safereact run --profile {profile}")


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


def champion(profile: Profile) -> None:
    """Bring the champion that a profile's adapter is compared with, or note that there is none."""
    from flows.runner.lock import one_run
    from flows.runner.registry import bring_own_champion, describe_champion

    workspace = open_workspace(profile)

    with one_run(workspace.root, f"champion {profile}"):
        changed = bring_own_champion(workspace)
    console.print(f"{describe_champion(workspace)}: {'brought' if changed else 'here already'}")
