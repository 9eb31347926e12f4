"""The profiles of a repository: which there are, and adding one of your own pair."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from components.config import PROFILE_NAME, load_profile, read_yaml
from components.errors import ConfigError
from components.records import Role
from components.storage import write_text
from components.workspace import Workspace
from flows.champion import keep_folder


@dataclass(frozen=True, slots=True)
class Pair:
    """What a new profile says: two checkpoints and a file of prompts a role."""

    base: Path
    post_trained: Path
    prompts: Mapping[Role, Path]
    licence: str


@dataclass(frozen=True, slots=True)
class Listing:
    """A profile, and whether `params.yaml` lists it, so that DVC has its stages."""

    name: str
    description: str
    listed: bool


def list_profiles(root: Path) -> list[Listing]:
    """Return the profiles in `profiles/` by name; a broken one shows its error's first line."""
    listed = read_yaml(Workspace(root, "").parameters).get("profiles") or {}
    listings = []
    for path in sorted((root / "profiles").glob("*.yaml")):
        try:
            description = load_profile(path).description
        except ConfigError as error:
            description = f"not valid: {str(error).splitlines()[0]}"
        listings.append(Listing(path.stem, description, path.stem in listed))
    return listings


def add_profile(
    workspace: Workspace, pair: Pair | None, *, checkpoints: Path | None, prompts: Path | None
) -> list[Path]:
    """Write `profiles/<name>.yaml` and list it in `params.yaml`; return the files written.

    A profile that exists is only listed. `checkpoints` and `prompts` are the folders whose changes
    make its results stale; by default the folder that holds both checkpoints, and that of the
    prompt files. Raises `ConfigError` naming what is missing.
    """
    if not PROFILE_NAME.fullmatch(workspace.profile):
        raise ConfigError(
            f"profile name {workspace.profile!r} is not allowed; use small letters, digits, "
            "'.', '_' and '-', and begin with a letter or digit"
        )
    exists = workspace.profile_file.is_file()
    if not exists and pair is None:
        raise ConfigError(
            f"{workspace.profile_file} does not exist; give --base, --post-trained, --harmful, "
            "--benign and --reasoning to write it"
        )
    if exists and pair is not None:
        raise ConfigError(
            f"{workspace.profile_file} exists; leave --base and the like out to list it, or "
            "choose another name"
        )
    sources = list(pair.prompts.values()) if pair else []
    watched = {
        "checkpoints": _watched(
            "--checkpoints", checkpoints, [pair.base, pair.post_trained] if pair else []
        ),
        "prompts": _watched("--prompts", prompts, sources),
    }
    entry = {key: _from_root(path, workspace.root) for key, path in watched.items()}
    written = []
    if pair is not None:
        write_text(workspace.profile_file, _dump(_document(workspace, pair)))
        written.append(workspace.profile_file)
    load_profile(workspace.profile_file)
    keep_folder(workspace.champion)
    _list(workspace, "profiles", entry)
    return [*written, workspace.parameters]


def list_studied(workspace: Workspace, key: str) -> bool:
    """List the profile under `key`, the name of a study's list in `params.yaml`; return whether it
    was not there yet."""
    listed = read_yaml(workspace.parameters).get(key) or {}
    if workspace.profile not in listed:
        _list(workspace, key, {})
    return workspace.profile not in listed


def _watched(option: str, given: Path | None, inside: list[Path]) -> Path:
    """Return the folder to watch: the one given, else the one that holds all of `inside`."""
    folders = {path.absolute().parent for path in inside}
    if given is None and len(folders) != 1:
        raise ConfigError(f"give {option}, the folder whose changes make the results stale")
    folder = given.absolute() if given else folders.pop()
    for path in (folder, *inside):
        if not path.exists():
            raise ConfigError(f"{path} does not exist")
    for path in inside:
        if not path.absolute().is_relative_to(folder):
            raise ConfigError(f"{path} does not lie in {folder}, which {option} names")
    return folder


def _from_root(path: Path, root: Path) -> str:
    """Return a path as the profile writes it: relative to the root where it lies below it."""
    path = Path(os.path.normpath(path.absolute()))
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _document(workspace: Workspace, pair: Pair) -> dict[str, Any]:
    sources = [
        {
            "name": role.value,
            "path": _from_root(path, workspace.root),
            "licence": pair.licence,
            "role": role.value,
        }
        for role, path in pair.prompts.items()
    ]
    return {
        "description": f"{pair.post_trained.name}, post-trained from {pair.base.name}.",
        "seed": 0,
        "prepare": {"sources": sources},
        "models": {
            "kind": "checkpoints",
            "base": _from_root(pair.base, workspace.root),
            "post_trained": _from_root(pair.post_trained, workspace.root),
        },
        "probe": {},
        "train": {},
        "evaluate": {},
        "gate": {"policy": "default"},
        "report": {},
        "registration": {"name": f"{workspace.profile}-safety"},
    }


def _list(workspace: Workspace, key: str, entry: dict[str, str]) -> None:
    """Write the profile's entry below `key` into `params.yaml`, whose comments stay."""
    from ruamel.yaml import YAML

    yaml = YAML()
    document = yaml.load(workspace.parameters.read_text(encoding="utf-8"))
    document.setdefault(key, {})[workspace.profile] = entry
    write_text(workspace.parameters, _dump(document))


def _dump(document: Any) -> str:
    from ruamel.yaml import YAML

    yaml, stream = YAML(), StringIO()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(document, stream)
    return stream.getvalue()
