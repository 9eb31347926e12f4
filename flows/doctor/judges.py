"""Whether a profile's judges can judge here: the same that an evaluation looks at first."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from components.core.errors import SafeReActError
from components.core.vocabulary import Role
from components.judges.calibration import read_cases
from components.judges.opening import check_judge, open_judge
from components.judges.settings import RULES, GuardSettings
from components.prepare.suites import Suite
from components.profile import Profile
from flows.doctor.checkpoints import wanted_guard
from flows.doctor.checks import Finding, missing, ok


def check_judges(profile: Profile, suites: Mapping[str, Suite], root: Path) -> Iterator[Finding]:
    """Yield of every judge in use whether it can judge, and whether the labelled cases can be read.

    No weights are loaded and none are fetched. The server of a rubric is asked for its models.
    """
    try:
        cases = read_cases(root / profile.evaluate.calibration)
        yield ok("judges", f"{len(cases)} labelled cases")
    except SafeReActError as error:
        yield missing("judges", str(error), "mend evaluate.calibration")
    for name, roles in judges_in_use(profile, suites).items():
        if name != RULES:
            yield _check(profile, name, roles, root)


def judges_in_use(profile: Profile, suites: Mapping[str, Suite]) -> dict[str, set[Role]]:
    """Return the judges that suites name, each with the roles of its suites."""
    evaluate = profile.evaluate
    pairs = [(evaluate.judge_of(role), role) for role in evaluate.prompts]
    pairs += [(suite.judge, suite.role) for suite in suites.values()]
    return {name: {role for judge, role in pairs if judge == name} for name, _ in pairs}


def _check(profile: Profile, name: str, roles: Collection[Role], root: Path) -> Finding:
    subject, judges = f"judge {name}", dict(profile.evaluate.judges)
    try:
        check_judge(name, judges, roles)
        settings = judges[name]
        if isinstance(settings, GuardSettings):
            wanted = wanted_guard(name, settings, root)
            folder = wanted.place()
            if folder is None or (wanted.on_hub and wanted.revision is None):
                return wanted.absent()
            # Of a commit in the hub cache nothing is fetched or digested.
            pin = None if wanted.on_hub else settings.revision
            judges[name] = settings.model_copy(update={"model": str(folder), "revision": pin})
        open_judge(name, judges, rules=profile.evaluate.rules, roles=roles).check()
    except SafeReActError as error:
        return missing(subject, str(error), "see docs/judges.md")
    return ok(subject, f"a {settings.kind} that can judge {', '.join(sorted(roles))}")
