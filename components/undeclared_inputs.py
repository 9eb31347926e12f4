"""Files that results depend on without DVC's knowledge, each with a remedy.

DVC watches what `dvc.yaml` and `params.yaml` name. Another file could change and leave every stage
"up to date", so it is refused unless its digest is pinned in the profile: then the stage that reads
it refuses another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from components.chain import DVC_FILE, TABLE, declared_files
from components.core.errors import ConfigError
from components.core.paths import CALIBRATION, Workspace
from components.core.storage import CHECKPOINT_FILES, digest_folder
from components.declared_inputs import named_files
from components.judges.settings import GuardSettings
from components.profile import Profile


def refuse_unwatched(profile: Profile, workspace: Workspace) -> None:
    """Raise `ConfigError` with a line for each file that DVC does not watch and no digest pins."""
    problems, name = list(unwatched(profile, workspace)), profile.name
    named = named_files(profile, workspace.root)
    if workspace.entry is not None and declared_files(workspace.root).get(name) != named:
        problems.append(
            f"{DVC_FILE} does not name the files of prompts that {name} names; `safereact add "
            f"{name}` writes them there, as `safereact run` does"
        )
    if problems:
        raise ConfigError("\n".join(problems))


def unwatched(profile: Profile, workspace: Workspace) -> Iterator[str]:
    """Yield a sentence for each file beside those of prompts that DVC does not watch and no digest
    pins."""
    if not _lies_in(workspace.root, profile.evaluate.calibration, *TABLE["evaluate"].inputs):
        yield (
            f"evaluate.calibration is {profile.evaluate.calibration}, which DVC does not watch; "
            f"put the cases below {CALIBRATION}"
        )
    yield from _guards(profile, workspace.root)


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
