"""What keeps a profile from a run, found before anything is spent."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.chain import STAGES
from components.core.errors import ConfigError
from components.core.paths import POLICIES, Workspace
from components.declared_inputs import named_files
from components.gate.policy_files import check_fits, policy_file
from components.profile import Profile, load_profile
from components.undeclared_inputs import unwatched


def check_profile(workspace: Workspace, stages: Sequence[str] = STAGES) -> None:
    """Raise `ConfigError` unless the profile is valid, fits its policy, and DVC knows of it, its
    `stages` and its files."""
    if "DVC_STAGE" in os.environ or "DVC_ROOT" in os.environ:
        raise ConfigError(
            "this run was started inside a DVC stage, which would wait for itself; start it from "
            "a shell or a scheduler"
        )
    profile = load_profile(workspace.profile_file)
    if problems := list(profile_problems(profile, workspace, stages)):
        raise ConfigError("\n".join(problems))


def profile_problems(
    profile: Profile, workspace: Workspace, stages: Sequence[str] = STAGES
) -> Iterator[str]:
    """Yield what keeps the profile from a run, its remedy behind a semicolon: DVC does not know of
    it or of its files, or its policy is not there or does not fit it."""
    try:
        listed = workspace.entry
        if listed is None:
            yield (
                f"profile {workspace.profile!r} is not listed in {workspace.parameters.name}; "
                f"`{_listing_command(profile, workspace)}` lists it"
            )
        where = None if listed is None else listed.get("checkpoints")
        if listed is not None and not (where and (workspace.root / where).exists()):
            yield (
                f"checkpoints of profile {workspace.profile!r} in {workspace.parameters.name} is "
                f"{where!r}; give the file or folder that the profile's checkpoints lie in"
            )
    except ConfigError as error:
        yield str(error)
        return
    try:
        named_files(profile, workspace.root)  # raises for a suite that is not there
        yield from unwatched(profile, workspace)
    except ConfigError as error:
        yield str(error)
    try:
        if "gate" in stages:
            policy = policy_file(profile.gate.policy, workspace.root / POLICIES)
            check_fits(policy, profile.evaluate)
    except ConfigError as error:
        yield str(error)


def _listing_command(profile: Profile, workspace: Workspace) -> str:
    """Return the command that lists the profile: DVC watches the folder of its checkpoints. A
    pinned hub pair depends on no more than the profile's file."""
    keys = {"base", "ancestor", "post_trained", "source"}
    names = filter(None, profile.models.model_dump(include=keys).values())
    local = [Path(name).parent for name in names if (workspace.root / name).parent.is_dir()]
    checkpoints = os.path.commonpath(local) if local else f"profiles/{workspace.profile}.yaml"
    return f"safereact add {workspace.profile} --checkpoints {checkpoints}"
