"""`safereact suites`: the suites there are, and which of them are on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import get_token
from rich.table import Table
from rich.text import Text

from components.core.errors import ConfigError
from components.core.paths import SUITES, Workspace
from components.prepare.suites import Suite, load_suite, suites_in, used_suites
from components.profile import load_profile
from flows.doctor.checkpoints import wanted_suite


@dataclass(frozen=True, slots=True)
class Listing:
    """A suite, or what is wrong with its file."""

    name: str
    suite: Suite | None
    complaint: str = ""


def list_suites(root: Path) -> list[Listing]:
    """Return the suites of `data/suites` by name. Nothing is fetched."""
    listings = []
    for name in suites_in(root / SUITES):
        try:
            listings.append(Listing(name, load_suite(root / SUITES / f"{name}.yaml")))
        except ConfigError as error:
            listings.append(Listing(name, None, str(error)))
    return listings


def list_used(workspace: Workspace) -> list[Listing]:
    """Return the suites that a profile names, with what it sets otherwise. Nothing is fetched.

    Raises `ConfigError` for a suite that is unknown or not valid.
    """
    uses = load_profile(workspace.profile_file).prepare.suites
    return [Listing(*pair) for pair in used_suites(uses, workspace.root / SUITES).items()]


def suites_table(listings: Iterable[Listing], root: Path) -> Table:
    """Return the suites as one table; n is `all` where no number of prompts is set.

    What is wrong with a suite that is not valid is in its complaint, which is too long for a table.
    """
    table = Table("suite", "role")
    for head in ("n", "k", "tokens"):
        table.add_column(head, justify="right")
    for head in ("judge", "attacks", "licence", "from", "gated", "here"):
        table.add_column(head)
    for listing in listings:
        if listing.suite:
            table.add_row(*map(Text, _cells(listing.suite, root)))
        else:
            table.add_row(Text(listing.name), *[""] * 7, Text("not valid", "bold red"))
    return table


def _cells(suite: Suite, root: Path) -> list[str]:
    """Return the cells of a suite, the last of which says whether the stage `prepare` would find
    the prompts without the network."""
    origin, data = suite.source, wanted_suite(suite, root)
    if data is None:
        place, gated = origin.path or "", "no"
        here = "yes" if (root / place).is_file() else "no file"
    else:
        subset = f"/{origin.subset}" if origin.subset else ""
        place = f"{data.name}{subset}@{(data.revision or 'not pinned')[:12]}"
        gated = f"yes; {'a' if get_token() else 'no'} token is set" if suite.gated else "no"
        missing = "not yet" if data.revision else "no: not pinned"
        here = "in the hub cache" if data.place() else missing
    numbers = (str(suite.prompts or "all"), str(suite.samples), str(suite.max_new_tokens))
    attacks = ", ".join(suite.attacks)
    return [
        *(suite.name, suite.role, *numbers, suite.judge, attacks, suite.licence),
        *(place, gated, here),
    ]
