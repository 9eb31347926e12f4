"""`safereact suites`: the suites there are, and which of them are on this machine."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from components.core.errors import ConfigError
from components.core.paths import SUITES, Workspace
from components.core.storage import digest_file
from components.prepare.hub import fetch_command, find_snapshot
from components.prepare.suites import Suite, SuiteOrigin, load_suite, suites_in, used_suites
from components.profile import Profile, load_profile
from components.undeclared_inputs import unwatched
from flows.doctor.checks import Finding, State

_CACHED = "in the hub cache"


@dataclass(frozen=True, slots=True)
class Listing:
    """A suite, or what is wrong with its file; and where its prompts are here."""

    name: str
    suite: Suite | None
    complaint: str
    here: str


def list_suites(root: Path) -> list[Listing]:
    """Return the suites of `data/suites` by name. Nothing is fetched."""
    listings = []
    for name in suites_in(root / SUITES):
        try:
            suite = load_suite(root / SUITES / f"{name}.yaml")
        except ConfigError as error:
            listings.append(Listing(name, None, str(error), ""))
        else:
            listings.append(Listing(name, suite, "", _here(suite, root)))
    return listings


def list_used(workspace: Workspace) -> list[Listing]:
    """Return the suites that a profile names, with what it sets otherwise. Nothing is fetched.

    Raises `ConfigError` for a suite that is unknown or not valid.
    """
    uses = load_profile(workspace.profile_file).prepare.suites
    suites = used_suites(uses, workspace.root / SUITES)
    return [Listing(n, suite, "", _here(suite, workspace.root)) for n, suite in suites.items()]


def suites_of(profile: Profile, root: Path) -> dict[str, Suite]:
    """Return the suites that the profile names; none where one is not valid, which `check_watched`
    tells of."""
    try:
        return used_suites(profile.prepare.suites, root / SUITES)
    except ConfigError:
        return {}


def check_watched(profile: Profile, workspace: Workspace) -> Iterator[Finding]:
    """Yield what DVC does not watch and no digest pins, and suites that are unknown or not valid,
    as the doctor tells them."""
    try:
        told = list(unwatched(profile, workspace))
    except ConfigError as error:
        told = [str(error)]
    for line in told:
        what, _, remedy = line.partition("; ")
        yield Finding("suites and judges", State.MISSING, what, remedy)


def check_suites(suites: Mapping[str, Suite], root: Path) -> Iterator[Finding]:
    """Yield what is missing here of each of a profile's suites, as the doctor tells it."""
    lacking = [found for suite in suites.values() for found in _lacking(suite, root)]
    yield from lacking
    if suites and not lacking:
        yield Finding("suites", State.OK, f"all {len(suites)} are here")


def _lacking(suite: Suite, root: Path) -> Iterator[Finding]:
    origin, subject = suite.source, f"suite {suite.name}"
    if origin.path is not None:
        place = root / origin.path
        target, url = shlex.quote(origin.path), shlex.quote(origin.url or "")
        remedy = f"curl -L -o {target} {url}" if origin.url else "put it there"
        if not place.is_file():
            yield Finding(subject, State.MISSING, f"{origin.path} is not there", remedy)
        elif origin.sha256 not in (None, digest_file(place)):
            yield Finding(subject, State.MISSING, f"{origin.path} is not the pinned file", remedy)
        return
    if origin.revision is None:
        remedy = f"`hf datasets info {origin.hub}` shows its sha: write it as source.revision"
        yield Finding(subject, State.MISSING, f"{origin.hub} is not pinned", remedy)
        return
    if _here(suite, root) == _CACHED:
        return
    fetch = fetch_command(origin.hub or "", origin.revision)
    if suite.gated and not _has_token():
        remedy = "accept its terms on the hub, then set HF_TOKEN or `hf auth login`"
        yield Finding(subject, State.MISSING, f"{origin.hub} is gated, and no token is set", remedy)
    elif os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        told = f"{origin.hub} is not here, and HF_HUB_OFFLINE is set"
        yield Finding(subject, State.MISSING, told, fetch)
    else:
        yield Finding(subject, State.WARNING, f"{origin.hub} is fetched by the first run", fetch)


def suites_table(listings: Iterable[Listing]) -> Table:
    """Return the suites as one table; n is `all` where no number of prompts is set.

    What is wrong with a suite that is not valid is in its complaint, which is too long for a table.
    """
    numbers = {"n", "k", "tokens"}
    table = Table()
    for header in (
        "suite",
        "role",
        "n",
        "k",
        "tokens",
        "judge",
        "attacks",
        "licence",
        "from",
        "gated",
        "here",
    ):
        table.add_column(header, justify="right" if header in numbers else "left")
    for listing in listings:
        suite = listing.suite
        if suite is None:
            table.add_row(Text(listing.name), *[""] * 7, Text("not valid", "bold red"), "", "")
            continue
        table.add_row(
            listing.name,
            suite.role.value,
            str(suite.prompts or "all"),
            str(suite.samples),
            str(suite.max_new_tokens),
            suite.judge,
            ", ".join(suite.attacks),
            Text(suite.licence),
            Text(_origin(suite.source)),
            _gated(suite),
            listing.here,
        )
    return table


def _origin(origin: SuiteOrigin) -> str:
    if origin.hub is None:
        return origin.path or ""
    part = f"/{origin.subset}" if origin.subset else ""
    return f"{origin.hub}{part}@{(origin.revision or 'not pinned')[:12]}"


def _here(suite: Suite, root: Path) -> str:
    """Return in a word whether the stage `prepare` would find the prompts without the network."""
    origin = suite.source
    if origin.hub is None:
        return "yes" if (root / (origin.path or "")).is_file() else "no file"
    if origin.revision is None:
        return "no: not pinned"
    return "not yet" if find_snapshot(origin.hub, origin.revision) is None else _CACHED


def _gated(suite: Suite) -> str:
    """Return whether the hub wants a token, and has one; whether it opens the set was not tried."""
    if not suite.gated or suite.source.hub is None:
        return "no"
    return "yes; a token is set" if _has_token() else "yes; no token is set"


def _has_token() -> bool:
    from huggingface_hub import get_token

    return bool(get_token())
