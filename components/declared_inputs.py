"""The files of prompts that a profile names, and how `dvc.yaml` gets to know them.

Each is a dependency of the profile's stage `prepare`, and what lies beside it is none.
"""

from __future__ import annotations

import os
from pathlib import Path

from components.chain import DVC_FILE, declared_files, dvc_file
from components.core.errors import ConfigError
from components.core.paths import LISTED, SUITES, Workspace, read_lists
from components.core.storage import EVERYBODY, write_text
from components.prepare.suites import used_suites
from components.profile import Profile, load_profile


def named_files(profile: Profile, root: Path) -> list[str]:
    """Return the files that the sources and the suites of a profile name, and those of its suites
    themselves, each once, as DVC gets them. A file that a suite pins by a digest cannot change, so
    it is not among them.

    Raises `ConfigError` for a suite that is unknown or not valid, and for a file that DVC cannot
    watch.
    """
    suites = used_suites(profile.prepare.suites, root / SUITES)
    paths = [source.path for source in profile.prepare.sources]
    paths += [suite.source.path for suite in suites.values() if not suite.source.sha256]
    paths += [f"{SUITES}/{name}.yaml" for name in suites]
    return sorted({dependency(path, root) for path in paths if path})


def dependency(path: str, root: Path) -> str:
    """Return the path of a file of prompts as `dvc.yaml` has it: from `root` where it lies below.

    Raises `ConfigError` where DVC would take it for something else, such as a variable, an address
    or a file of its own, and where stages write, since none may depend on itself.
    """
    place = Path(os.path.relpath(root / path, root))
    written = any(place.is_relative_to(folder) for folder in Workspace(Path(), "").private)
    mistaken = "${" in path or "://" in path or not path.isprintable()
    own = place.name == DVC_FILE or place.name.endswith(".dvc")
    if written or mistaken or own or (root / place).is_dir():
        raise ConfigError(
            f"DVC cannot watch {path!r:.200}; name a file of prompts outside of artifacts/ and "
            "data/prepared/, without `${`, `://` and characters that cannot be printed in its path"
        )
    if place.parts[0] != "..":
        return place.as_posix()
    outside = os.path.normpath(path)  # which keeps two slashes, and DVC takes them for a host's
    return outside[1:] if outside.startswith("//") else outside


def declare_files(root: Path) -> bool:
    """Have `dvc.yaml` name the files of every listed profile; return whether it did not yet.

    Of a profile that is not valid it goes on naming what it did.
    """
    declared, files = declared_files(root), dict[str, list[str]]()
    for name in read_lists(Workspace(root, "").parameters)[LISTED]:
        try:
            files[name] = named_files(load_profile(Workspace(root, name).profile_file), root)
        except ConfigError:
            files[name] = declared.get(name, [])
    if files == declared:
        return False
    write_text(root / DVC_FILE, dvc_file(files), mode=EVERYBODY)
    return True
