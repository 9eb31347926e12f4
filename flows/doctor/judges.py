"""Whether a profile's judges can judge here: the same that an evaluation looks at first."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from components.core.errors import SafeReActError
from components.core.vocabulary import Role
from components.judges.calibration import read_cases
from components.judges.opening import check_judge, open_judge
from components.judges.settings import RULES, GuardSettings
from components.prepare.suites import Suite
from components.profile import Profile
from flows.doctor.checkpoints import Wanted
from flows.doctor.checks import Finding, State

_REMEDY = "see docs/judges.md"


def check_judges(profile: Profile, suites: Mapping[str, Suite], root: Path) -> Iterator[Finding]:
    """Yield of every judge in use whether it can judge, and whether the labelled cases can be read.

    No weights are loaded and none are fetched. The server of a rubric is asked for its models.
    """
    cases = root / profile.evaluate.calibration
    try:
        told = f"{len(read_cases(cases))} labelled cases"
        yield Finding("judges", State.OK, told)
    except SafeReActError as error:
        yield Finding("judges", State.MISSING, str(error), "mend evaluate.calibration")
    for name, roles in _in_use(profile, suites).items():
        if name != RULES:
            yield _check(profile, name, roles, root)


def guards_to_fetch(
    profile: Profile, suites: Mapping[str, Suite], root: Path
) -> list[GuardSettings]:
    """Return the guards in use that are on the hub and not in its cache."""
    judges = [profile.evaluate.judges.get(name) for name in _in_use(profile, suites)]
    guards = [judge for judge in judges if isinstance(judge, GuardSettings)]
    places = [Wanted(guard.kind, guard.model, guard.revision, root) for guard in guards]
    return [
        guard
        for guard, place in zip(guards, places, strict=True)
        if place.on_hub and place.folder() is None
    ]


def _in_use(profile: Profile, suites: Mapping[str, Suite]) -> dict[str, set[Role]]:
    """Return the judges that suites name, each with the roles of its suites."""
    evaluate = profile.evaluate
    asked = [(evaluate.judge_of(role), role) for role in evaluate.prompts]
    asked += [(suite.judge, suite.role) for suite in suites.values()]
    found: dict[str, set[Role]] = {}
    for name, role in asked:
        found.setdefault(name, set()).add(role)
    return found


def _check(profile: Profile, name: str, roles: Collection[Role], root: Path) -> Finding:
    subject, judges = f"judge {name}", dict(profile.evaluate.judges)
    try:
        check_judge(name, judges, roles)
        settings = judges[name]
        if isinstance(settings, GuardSettings):
            wanted = Wanted(name, settings.model, settings.revision, root)
            folder = wanted.folder()
            if folder is None or (wanted.on_hub and wanted.revision is None):
                return _absent(wanted, subject)
            # Of a commit in the hub cache nothing is fetched or digested.
            pin = None if wanted.on_hub else settings.revision
            place = {"model": str(folder), "revision": pin}
            judges[name] = settings.model_copy(update=place)
        open_judge(name, judges, rules=profile.evaluate.rules, roles=roles).check()
    except SafeReActError as error:
        return Finding(subject, State.MISSING, str(error), _REMEDY)
    told = f"a {settings.kind} that can judge {', '.join(sorted(roles))}"
    return Finding(subject, State.OK, told)


def _absent(wanted: Wanted, subject: str) -> Finding:
    """Return what to do about a guard whose checkpoint is not here."""
    fetch = f"hf download {wanted.name} --revision {wanted.revision}"
    if not wanted.on_hub:
        return Finding(subject, State.MISSING, f"{wanted.name} is not there", "put it there")
    if wanted.revision is None:
        remedy = f"`hf models info {wanted.name}` shows its sha: write it as its revision"
        return Finding(subject, State.MISSING, f"{wanted.name} is not pinned", remedy)
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        told = f"{wanted.name} is not here, and HF_HUB_OFFLINE is set"
        return Finding(subject, State.MISSING, told, fetch)
    told = f"{wanted.name} is fetched by the first run; accept its licence if it is gated"
    return Finding(subject, State.WARNING, told, fetch)
