"""The profiles of a repository: adding one of your own pair, and what `params.yaml` lists."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from components.chain import DVC_FILE
from components.core.documents import ENDLESS, read_yaml
from components.core.errors import ConfigError, DataError
from components.core.paths import LISTED, PROFILE_NAME, Workspace, read_lists
from components.core.storage import EVERYBODY, write_text
from components.core.vocabulary import Role, Split
from components.declared_inputs import declare_files, dependency, named_files
from components.inputs import keep_folder
from components.models.settings import COMMIT, HUB_ID
from components.prepare.settings import PromptField, Source, columns_of
from components.profile import load_profile
from flows.doctor.checkpoints import Wanted, complaint

if TYPE_CHECKING:
    from ruamel.yaml import YAML

_ROLES = {Role.HARMFUL, Role.BENIGN, Role.REASONING}  # of which a profile needs prompts
_PAIR_OPTIONS = "--base, --post-trained, --harmful, --benign and --reasoning"
_LOOK_ALIKES = "data/embedded/everyday/look_alikes_{}.jsonl"
_NEW = Path(__file__).with_name("new_profile.yaml")  # with the reason of each choice


@dataclass(frozen=True, slots=True)
class Named:
    """A checkpoint as a profile names it: a folder, or a hub id with its commit."""

    name: str
    revision: str | None = None

    @property
    def folder(self) -> Path | None:
        """The folder, unless it is on the hub."""
        return None if self.revision else Path(self.name)


@dataclass(frozen=True, slots=True)
class Pair:
    """What a new profile says: two checkpoints, and a file of prompts a role with the columns whose
    names are not those of their fields."""

    base: Named
    post_trained: Named
    prompts: Mapping[Role, Path]
    licence: str
    columns: Mapping[PromptField, str] = field(default_factory=dict)


def name_checkpoint(text: str, *, option: str) -> Named:
    """Return the checkpoint that `text`, a folder or owner/name@commit, names.

    Raises `ConfigError` naming the option, and the folder or commit that is missing.
    """
    if text and Path(text).is_dir():
        return Named(text)
    name, _, revision = text.partition("@")
    if HUB_ID.fullmatch(name) and COMMIT.fullmatch(revision):
        return Named(name, revision)
    received = f"received {revision!r}" if revision else "none was given"
    raise ConfigError(
        f"{option}: there is no folder {text}; a hub checkpoint is written OWNER/NAME@COMMIT, with "
        f"all 40 hex digits of its commit ({received})"
    )


def name_pair(
    base: str | None,
    post_trained: str | None,
    prompts: Mapping[Role, Path],
    licence: str,
    columns: Sequence[str],
) -> Pair:
    """Return what `safereact init` was told. Raises `ConfigError` where a part of the pair lacks,
    and for a column that is not FIELD=NAME."""
    if not base or not post_trained or not prompts.keys() >= _ROLES:
        raise ConfigError(f"a new profile needs {_PAIR_OPTIONS}")
    named = read_columns(columns)
    original = name_checkpoint(base, option="--base")
    tuned = name_checkpoint(post_trained, option="--post-trained")
    return Pair(original, tuned, prompts, licence, named)


def read_columns(columns: Sequence[str]) -> dict[PromptField, str]:
    """Return the columns that the options --column name, by their fields; raises `ConfigError` for
    one that is not FIELD=NAME."""
    fields: tuple[PromptField, ...] = get_args(PromptField)
    for text in columns:
        if not re.fullmatch(rf"({'|'.join(fields)})=.+", text):
            allowed = ", ".join(fields)
            raise ConfigError(f"--column {text!r} is not FIELD=NAME with a field of {allowed}")
    parts = dict(text.split("=", 1) for text in columns)
    return {field: parts[field] for field in fields if field in parts}


def check_name(name: str, what: str = "profile name") -> None:
    """Raise `ConfigError` unless a profile may have the name that `what` gives."""
    if not PROFILE_NAME.fullmatch(name):
        raise ConfigError(
            f"{what} {name!r} is not allowed; use small letters, digits, '.', '_' and '-', and "
            "begin with a letter or digit"
        )


def check_new(workspace: Workspace) -> None:
    """Raise `ConfigError` unless a new profile may have this name."""
    check_name(workspace.profile)
    if (file := workspace.profile_file).is_file():
        raise ConfigError(
            f"{file} exists; `safereact add {workspace.profile}` lists it, or choose another name"
        )


def check_pair(workspace: Workspace, pair: Pair) -> None:
    """Raise `ConfigError` or `DataError` for a local checkpoint or a file of prompts that the chain
    could not use: a missing template, a column of another name."""
    from components.prepare.sources import read_source

    for checkpoint in (pair.base, pair.post_trained):
        if checkpoint.folder and (wrong := complaint(checkpoint.folder)):
            raise ConfigError(f"{workspace.profile} is not added: {wrong}")
    for source in _sources(workspace, pair):
        dependency(source["path"], workspace.root)
        there = Source.model_validate({**source, "path": str(workspace.root / source["path"])})
        rows = read_source(there, 0)
        if there.role is Role.REASONING and not any(row.answer for row in rows):
            raise DataError(
                f"{source['path']}: no row has an answer, which reasoning is graded by; fill the "
                "column `answer`, or name it: --column answer=NAME"
            )


def add_profile(workspace: Workspace, pair: Pair | None, *, checkpoints: Path | None) -> list[Path]:
    """Write the profile of `pair`, list it in `params.yaml` and have `dvc.yaml` name its files of
    prompts; return the files written.

    Without a pair, the profile that is there is listed. `checkpoints` is the folder whose changes
    make its results stale; by default the one that holds both checkpoints, or that is listed
    already. Raises `ConfigError` naming what is missing.
    """
    file, root = workspace.profile_file, workspace.root
    if pair is not None:
        check_new(workspace)
    elif not file.is_file():
        check_name(workspace.profile)
        raise ConfigError(f"{file} does not exist; `safereact init` writes one of your own pair")
    local = [c.folder for c in (pair.base, pair.post_trained) if c.folder] if pair else []
    # Of a pair on the hub nothing can change but the commits, which stand in the profile.
    on_hub = pair is not None and not local and checkpoints is None
    listed = None if checkpoints or pair else workspace.entry
    if listed is None:
        watched = file if on_hub else _watched(checkpoints, local)
        listed = {"checkpoints": _from_root(watched, root)}
    if pair is not None:
        check_pair(workspace, pair)
        write_yaml(file, _document(workspace, pair))
    named_files(load_profile(file), root)  # raises where DVC could not watch one
    keep_folder(workspace.champion)
    _list(workspace, LISTED, listed)
    declared = [root / DVC_FILE] if declare_files(root) else []
    return [*([file] if pair else []), workspace.parameters, *declared]


def list_studied(workspace: Workspace, key: str) -> bool:
    """List the profile under `key`, the name of a study's list in `params.yaml`; return whether it
    was not there yet."""
    new = workspace.profile not in read_lists(workspace.parameters).get(key, {})
    if new:
        _list(workspace, key, {})
    return new


def _watched(given: Path | None, inside: list[Path]) -> Path:
    """Return the folder to watch: the one given, else the one that holds all of `inside`."""
    folders = {path.absolute().parent for path in inside}
    if given is None and len(folders) != 1:
        raise ConfigError("give --checkpoints, the folder whose changes make the results stale")
    folder = given.absolute() if given else folders.pop()
    for path in (*inside, folder):
        if not path.exists():
            raise ConfigError(f"{path} does not exist; give a file or folder that does")
        if path is not folder and not path.absolute().is_relative_to(folder):
            raise ConfigError(f"{path} does not lie in {folder}, which --checkpoints names")
    return folder


def _from_root(path: Path, root: Path) -> str:
    """Return a path as the profile writes it: relative to the root where it lies below it."""
    path = Path(os.path.normpath(path.absolute()))
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _document(workspace: Workspace, pair: Pair) -> Any:
    """Return the profile of a new pair."""
    document = read_commented(_NEW)
    models = document["models"]
    for key, checkpoint in (("base", pair.base), ("post_trained", pair.post_trained)):
        folder = checkpoint.folder
        models[key] = _from_root(folder, workspace.root) if folder else checkpoint.name
        if checkpoint.revision:
            models[f"{key}_revision"] = checkpoint.revision
    document["description"] = f"{models['post_trained']}, post-trained from {models['base']}."
    document["prepare"]["sources"] = _sources(workspace, pair) + _look_alikes(workspace.root)
    document["registration"]["name"] = f"{workspace.profile}-safety"
    _add_sampling(document["evaluate"], pair.post_trained, workspace.root)
    return document


def _add_sampling(section: Any, post_trained: Named, root: Path) -> None:
    """Have the evaluation sample as the post-trained checkpoint says, where it is here and does."""
    wanted = Wanted("models.post_trained", post_trained.name, post_trained.revision, "", root)
    if (folder := wanted.place()) is None:
        return
    from components.lm.configuration import checkpoint_sampling

    sampling = checkpoint_sampling(folder)
    if own := sampling.model_dump(exclude_defaults=True) if sampling else {}:
        section |= own
        comment = "As the checkpoint's own generation_config.json samples."
        section.yaml_set_comment_before_after_key("temperature", before=comment, indent=2)


def _sources(workspace: Workspace, pair: Pair) -> list[dict[str, Any]]:
    sources: list[dict[str, Any]] = []
    for role, path in pair.prompts.items():
        source = {"name": role.value, "path": _from_root(path, workspace.root)}
        source |= {"licence": pair.licence, "role": role.value}
        columns = columns_of(role, pair.columns)
        sources.append({**source, "columns": columns} if columns else source)
    return sources


def _look_alikes(root: Path) -> list[dict[str, Any]]:
    """Return the sources of look-alikes that come with the repository, where they are there.

    They are retained and tried settings on; none is tested on. What they spare stands in
    docs/results/smollm2-settings.md.
    """
    splits = {split: _LOOK_ALIKES.format(split) for split in (Split.TRAIN, Split.VALIDATION)}
    return [
        {"name": f"look-alikes-{split}", "path": path, "licence": "Apache-2.0", "split": str(split)}
        for split, path in splits.items()
        if (root / path).is_file()
    ]


def _list(workspace: Workspace, key: str, entry: dict[str, str]) -> None:
    """Write the profile's entry below `key` into `params.yaml`."""
    document = read_commented(workspace.parameters)
    document.setdefault(key, {})[workspace.profile] = entry
    write_yaml(workspace.parameters, document)


def _round_trip() -> YAML:
    """Return a reader and writer that leaves comments and quotes as they are and wraps nothing."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, ENDLESS
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def read_commented(file: Path) -> Any:
    """Return a YAML file as a document whose comments `write_yaml` writes, too; raises as
    `read_yaml` does."""
    read_yaml(file)
    return _round_trip().load(file.read_text(encoding="utf-8"))


def write_yaml(file: Path, document: Any) -> None:
    """Write a document for everybody to read."""
    stream = StringIO()
    _round_trip().dump(document, stream)
    write_text(file, stream.getvalue(), mode=EVERYBODY)
