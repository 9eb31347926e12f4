"""All profiles in one table: who is champion, for how long, and what was decided last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.table import Table
from rich.text import Text

from components.core.errors import ConfigError, SafeReActError
from components.core.paths import LISTED, Workspace, open_workspace, read_lists
from components.core.untrusted_text import for_terminal
from components.gate.result import GateOutcome
from components.profile import load_profile
from flows.cli.app import print_json
from flows.cli.terminal import console

if TYPE_CHECKING:
    from components.registry.mlflow_registry import Registry


@dataclass(frozen=True, slots=True)
class Standing:
    """A profile, the champion of its registered model, and the last decision on an adapter of it.

    What is empty or None there is not; `problems` say what could not be read or relied on. Times
    are UTC, ISO 8601.
    """

    profile: str
    model: str = ""
    champion: str | None = None  # version
    champion_since: str | None = None
    decision: str | None = None
    decided: str | None = None
    watch: str | None = None  # what the champion's last watch found
    watched: str | None = None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # signatures and keys that cannot be read; no problem of the row


def standings(root: Path) -> Iterator[Standing]:
    """Yield how each profile stands that `params.yaml` lists, by name.

    A profile that is not valid, and a registry that does not answer, are problems of their rows.
    Raises `ConfigError` where `params.yaml` cannot be read.
    """
    from components.registry.mlflow_registry import Registry

    registry = Registry(root)
    for name in sorted(read_lists(Workspace(root, "").parameters)[LISTED]):
        standing = Standing(name)
        try:
            model = load_profile(open_workspace(name, root).profile_file).registration.name
            standing = replace(standing, model=model)
            yield _registered(registry, standing)
        except SafeReActError as error:
            yield replace(standing, problems=(str(error),))


def _registered(registry: Registry, standing: Standing) -> Standing:
    """Return a profile's standing with what the registry has of it."""
    from components.registry.looks import looks_of
    from components.registry.mlflow_registry import CHAMPION
    from components.registry.status import status

    found = status(registry, standing.model)
    for one in found:
        if one.alias == CHAMPION:
            since = one.change.when if one.version and one.change else None
            standing = replace(standing, champion=one.version, champion_since=since)
            if watch := one.watched:
                standing = replace(standing, watch=watch.words, watched=watch.when)
    decisions = tuple(GateOutcome)  # a watch is a look as well, and decides nothing
    for look in looks_of(registry, standing.model):  # the last is the latest
        if look.profile == standing.profile and look.outcome in decisions:
            standing = replace(standing, decision=look.outcome, decided=look.when)
    problems, notes = (
        tuple(dict.fromkeys(each for one in found for each in getattr(one, kind)))
        for kind in ("problems", "notes")
    )
    return replace(standing, problems=problems, notes=notes)


def fleet_table(rows: Iterable[Standing], now: datetime) -> Table:
    """Return the profiles as a table with ages at `now`."""
    table = Table("profile", "champion", "for", "last decision and watch, what is wrong")
    for row in rows:
        absent = "?" if row.problems else "none"
        champion = f"version {row.champion}" if row.champion else absent
        decision = f"{row.decision}, {_age(row.decided, now)} ago" if row.decision else absent
        cells = (row.profile, champion, _age(row.champion_since, now))
        if row.watch:
            decision += f"; watch: {row.watch}, {_age(row.watched, now)} ago"
        found = Text(for_terminal(decision))
        for said, style in ((row.notes, "yellow"), (row.problems, "red")):
            for each in said:
                found.append(f"\n{for_terminal(each)}", style)
        table.add_row(*map(for_terminal, cells), found)
    return table


def _age(since: str | None, now: datetime) -> str:
    """Return how long ago a moment was, in days or, of less than two, in hours."""
    if not since:
        return ""
    then = datetime.fromisoformat(since)
    hours = int((now - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds() // 3600)
    return f"{hours // 24} d" if hours >= 48 else f"{hours} h"


def nothing_listed() -> ConfigError:
    """Return what is said in place of nothing, which would look as if all was well."""
    return ConfigError(
        "params.yaml lists no profile, so there is none to show; `safereact init` writes one, "
        "`safereact add` lists one that is there"
    )


def print_fleet(root: Path, profile: str | None, *, as_json: bool) -> None:
    """Print the row of one profile or, without one, of all; exit with 1 where one has a problem."""
    rows = [row for row in standings(root) if profile in (None, row.profile)]
    if profile is None and not rows:
        raise nothing_listed()
    if profile is not None and not rows:
        open_workspace(profile, root)  # names the profiles where there is none of that name
        raise ConfigError(f"params.yaml does not list {profile}; `safereact add {profile}` does")
    if as_json:
        print_json(rows)
    else:
        console.print(fleet_table(rows, datetime.now(UTC)))
    if any(row.problems for row in rows):
        raise typer.Exit(1)
