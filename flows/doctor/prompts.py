"""A profile's prompts and suites: whether they are here, and what `prepare` leaves of them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import chdir
from pathlib import Path

from components.core.errors import ConfigError, SafeReActError
from components.core.paths import SUITES
from components.prepare.suites import Suite, used_suites
from components.profile import Profile
from flows.doctor.checkpoints import Wanted
from flows.doctor.checks import Finding, missing, ok, refused, warning

_LARGEST = 200 * 2**20  # bytes of prompt files up to which the preparation is tried


def suites_of(profile: Profile, root: Path) -> dict[str, Suite]:
    """Return the suites that the profile names; none where one is not valid, which the check of
    the profile finds."""
    try:
        return used_suites(profile.prepare.suites, root / SUITES)
    except ConfigError:
        return {}


def check_prompts(profile: Profile, root: Path) -> Iterator[Finding]:
    """Yield every prompt file that is not there or cannot be read and every hub data set that is
    not here; where all are here, what `prepare` leaves of each role."""
    sources = profile.prepare.sources
    lost = [one.path for one in sources if one.path and not os.access(root / one.path, os.R_OK)]
    for path in lost:
        lacking = f"{path} {'cannot be read' if (root / path).exists() else 'is not there'}"
        yield missing("prompts", lacking, "put it there, readable; see docs/models.md")
    data = [Wanted("prompts", s.hub, s.revision, "", root, dataset=True) for s in sources if s.hub]
    absent = [one for one in data if one.place() is None]
    yield from (one.absent() for one in absent)
    if not lost:
        yield ok("prompts", f"files of {len(sources)} sources")
    if not lost and not absent:
        yield from _tried(profile, root)


def _tried(profile: Profile, root: Path) -> Iterator[Finding]:
    """Yield what the stage `prepare` leaves of the own prompts, or its error."""
    paths = [root / source.path for source in profile.prepare.sources if source.path]
    size = sum(path.stat().st_size for path in paths)
    if size > _LARGEST:
        remedy = f"`dvc repro prepare@{profile.name}` tells"
        yield warning("prompts", f"{size / 1e6:.0f} MB of prompts were not looked into", remedy)
        return
    from components.prepare.stage import build_table

    try:
        with chdir(root):
            table = build_table(profile.prepare, {}, seed=profile.seed)
    except SafeReActError as error:
        yield missing("prompts", str(error), "see docs/own-model.md")
        return
    yield from (ok("prompts", line) for line in table.account)


def check_suites(suites: Mapping[str, Suite], root: Path) -> Iterator[Finding]:
    """Yield what is missing here of each of a profile's suites, as the stage `prepare` finds it."""
    lacking = [found for suite in suites.values() if (found := _lacking(suite, root))]
    yield from lacking
    if suites and not lacking:
        yield ok("suites", f"all {len(suites)} are here")


def _lacking(suite: Suite, root: Path) -> Finding | None:
    from components.prepare.sources import check_file

    data = wanted_suite(suite, root)
    if data is not None:
        return data.absent() if data.place() is None else None
    origin = suite.source
    try:
        with chdir(root):
            check_file(suite)
    except SafeReActError as error:
        target, url = shlex.quote(origin.path or ""), shlex.quote(origin.url or "")
        command = f"curl -L -o {target} {url}" if origin.url else ""
        return refused(f"suite {suite.name}", error, command)
    return None


def wanted_suite(suite: Suite, root: Path) -> Wanted | None:
    """Return the hub data set of a suite; None where its prompts are a file."""
    origin = suite.source
    if origin.hub is None:
        return None
    pin = f"source.revision of {SUITES}/{suite.name}.yaml"
    return Wanted(
        f"suite {suite.name}", origin.hub, origin.revision, pin, root, True, terms=suite.gated
    )
