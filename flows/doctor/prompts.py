"""What the doctor says of a profile's prompts: whether they are here, and what is left of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

from components.core.errors import SafeReActError
from components.prepare.hub import fetch_command, find_snapshot
from components.profile import Profile
from flows.doctor.checks import Finding, State

_LARGEST = 200 * 2**20  # bytes of prompt files up to which the preparation is tried


def check_prompts(profile: Profile, root: Path) -> Iterator[Finding]:
    """Yield every prompt file that is not there or cannot be read and every hub data set that is
    not here; where all are here, what `prepare` leaves of each role."""
    absent = list(_absent(profile, root))
    yield from absent
    if not any(finding.state is State.MISSING for finding in absent):
        yield Finding("prompts", State.OK, f"files of {len(profile.prepare.sources)} sources")
    if not absent:
        yield from _tried(profile, root)


def _absent(profile: Profile, root: Path) -> Iterator[Finding]:
    for source in profile.prepare.sources:
        if source.path is None:
            hub, revision = source.hub or "", source.revision or ""
            if find_snapshot(hub, revision) is None:
                message = f"{hub} is fetched by the first run"
                remedy = f"be online then, or `{fetch_command(hub, revision)}`"
                yield Finding("prompts", State.WARNING, message, remedy)
        elif not os.access(root / source.path, os.R_OK):
            there = (root / source.path).exists()
            message = f"{source.path} {'cannot be read' if there else 'is not there'}"
            remedy = "mend its rights" if there else "put it there; see docs/models.md"
            yield Finding("prompts", State.MISSING, message, remedy)


def _tried(profile: Profile, root: Path) -> Iterator[Finding]:
    """Yield what the stage `prepare` leaves of the own prompts, or its error."""
    paths = [root / source.path for source in profile.prepare.sources if source.path]
    size = sum(path.stat().st_size for path in paths)
    if size > _LARGEST:
        message = f"{size / 1e6:.0f} MB of prompts were not looked into"
        remedy = f"`dvc repro prepare@{profile.name}` tells"
        yield Finding("prompts", State.WARNING, message, remedy)
        return
    from components.prepare.table import build_table

    try:
        with chdir(root):
            table = build_table(profile.prepare, {}, seed=profile.seed)
    except SafeReActError as error:
        yield Finding("prompts", State.MISSING, str(error), "see docs/own-model.md")
        return
    for line in table.account:
        yield Finding("prompts", State.OK, line)
