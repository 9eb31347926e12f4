"""Files that results depend on without DVC's knowledge, each with a remedy.

DVC watches the folders that `dvc.yaml` and `params.yaml` name. A file elsewhere could change and
leave every stage "up to date", so it is refused unless its digest is pinned in the profile or in
the suite's file: then the stage that reads it refuses another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from components.chain import TABLE
from components.core.errors import ConfigError
from components.core.paths import CALIBRATION, EMBEDDED, SUITES, Workspace
from components.core.storage import CHECKPOINT_FILES, digest_folder
from components.judges.settings import GuardSettings
from components.prepare.suites import used_suites
from components.profile import Profile


def refuse_unwatched(profile: Profile, workspace: Workspace) -> None:
    """Raise `ConfigError` with a line for each file that DVC does not watch and no digest pins."""
    if problems := list(unwatched(profile, workspace)):
        raise ConfigError("\n".join(problems))


def unwatched(profile: Profile, workspace: Workspace) -> Iterator[str]:
    """Yield a sentence for each file that DVC does not watch and no digest pins.

    Raises `ConfigError` for a suite that is unknown or not valid.
    """
    listed = Workspace(workspace.root, profile.name).entry or {}
    prompts = listed.get("prompts") or EMBEDDED
    watched = [path.replace("${item.prompts}", prompts) for path in TABLE["prepare"].inputs]
    for source in profile.prepare.sources if listed else ():
        if source.path and not _lies_in(workspace.root, source.path, *watched):
            yield (
                f"the source {source.name!r} reads {source.path}, which DVC does not watch; put it "
                f"below {prompts}, or name its folder as `prompts` of {profile.name} in params.yaml"
            )
    yield from _suite_files(profile, workspace.root, watched, prompts)
    if not _lies_in(workspace.root, profile.evaluate.calibration, *TABLE["evaluate"].inputs):
        yield (
            f"evaluate.calibration is {profile.evaluate.calibration}, which DVC does not watch; "
            f"put the cases below {CALIBRATION}"
        )
    yield from _guards(profile, workspace.root)


def _suite_files(
    profile: Profile, root: Path, watched: Sequence[str], prompts: str
) -> Iterator[str]:
    for name, suite in used_suites(profile.prepare.suites, root / SUITES).items():
        path = suite.source.path
        if path is None or suite.source.sha256 or _lies_in(root, path, *watched):
            continue
        yield (
            f"the suite {name!r} reads {path}, which DVC does not watch; put it below "
            f"{prompts}, or write its digest as `sha256` beside its `path` (`sha256sum {path}`)"
        )


def _guards(profile: Profile, root: Path) -> Iterator[str]:
    for name, judge in profile.evaluate.judges.items():
        if not isinstance(judge, GuardSettings) or judge.revision:
            continue
        folder = root / judge.model
        if not folder.is_dir() or _lies_in(root, judge.model, *TABLE["evaluate"].inputs):
            continue
        digest = digest_folder(folder, suffixes=CHECKPOINT_FILES)
        yield (
            f"the judge {name!r} is the folder {judge.model}, which DVC does not watch; write "
            f"evaluate.judges.{name}.revision: {digest}"
        )


def _lies_in(root: Path, path: str, *folders: str) -> bool:
    """Return whether `path` is one of the `folders` or lies below it; all may be relative.

    DVC follows no links, so what a link leads to does not lie where the link does.
    """
    place, *places = ((root / one).resolve() for one in (path, *folders))
    return any(place.is_relative_to(folder) for folder in places)
