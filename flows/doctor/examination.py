"""What this machine lacks to run a profile. Nothing is fetched, started or written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from components.core.errors import ConfigError
from components.core.launcher import divides_model
from components.core.paths import Workspace
from components.judges.settings import GuardSettings
from components.models.settings import Shape
from components.prepare.suites import Suite
from components.profile import Profile, load_profile
from flows.doctor import resources
from flows.doctor.checkpoints import (
    Wanted,
    check_checkpoints,
    find_shape,
    wanted_checkpoints,
    wanted_guard,
)
from flows.doctor.checks import Finding, missing, ok, refused, warning
from flows.doctor.estimate import GUARDS, weight_bytes, workloads
from flows.doctor.judges import check_judges, judges_in_use
from flows.doctor.machine import check_launcher, check_packages, check_repository, check_servers
from flows.doctor.prompts import check_prompts, check_suites, suites_of
from flows.doctor.rendered import check_rendered
from flows.runner.profiles import profile_problems


def examine(workspace: Workspace) -> Iterator[Finding]:
    """Yield what was found on this machine for a profile.

    Where the profile itself cannot be read, only the machine is examined.
    """
    yield from check_packages()
    yield from check_repository(workspace)
    yield from check_servers(workspace)
    yield from check_launcher()
    try:
        profile = load_profile(workspace.profile_file)
    except ConfigError as error:
        yield missing("profile", str(error), "mend the file")
        return
    wanted, root = wanted_checkpoints(profile, workspace.root), workspace.root
    suites = suites_of(profile, root)
    yield from check_profile_file(profile, workspace)
    yield from check_prompts(profile, root)
    yield from check_suites(suites, root)
    yield from check_judges(profile, suites, root)
    yield from check_checkpoints(wanted)
    yield from check_rendered(profile, suites, wanted, workspace)
    if shape := find_shape(profile, wanted):
        yield from _check_sizes(profile, suites, shape, wanted, workspace)
    else:
        lacking = "nothing here tells the model's size, so memory and disk were not estimated"
        yield warning("size", lacking, "put the checkpoint there, or give its models.shape")


def check_profile_file(profile: Profile, workspace: Workspace) -> Iterator[Finding]:
    """Yield what a run would have against the profile before it begins."""
    problems = list(profile_problems(profile, workspace))
    yield from (refused("profile", problem) for problem in problems)
    if not problems:
        yield ok("profile", f"valid and listed, policy {profile.gate.policy}")


def _check_sizes(
    profile: Profile,
    suites: Mapping[str, Suite],
    shape: Shape,
    wanted: Sequence[Wanted],
    workspace: Workspace,
) -> Iterator[Finding]:
    sizes = [(one, weight_bytes(shape, "bf16")) for one in wanted]
    for name in judges_in_use(profile, suites):
        judge = profile.evaluate.judges.get(name)
        if isinstance(judge, GuardSettings):
            size = weight_bytes(GUARDS[judge.kind], "bf16")
            sizes.append((wanted_guard(name, judge, workspace.root), size))
    absent = [(one, size) for one, size in sizes if one.on_hub and one.place() is None]
    yield from resources.check_disk(profile, shape, absent, workspace.root)
    device, sharing = resources.find_device(), 1
    yield from resources.check_device(profile, shape, device)
    try:
        sharing = device.count if divides_model(workspace.root) else 1
    except ConfigError as error:
        yield missing("launcher", str(error), "mend its config file")
    loads = workloads(profile, suites)
    yield from resources.check_memory(profile, loads, shape, device, sharing=sharing)
