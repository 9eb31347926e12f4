"""What stages depend on besides their data: their code and their settings.

The DVC stage `inputs` runs before all others. It writes the fingerprint of every stage's code, and
the settings of every listed profile with what the profile extends and with the defaults. So DVC
runs a stage again exactly where its code or a value in its settings is another one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.chain import TABLE, Stage
from components.core.errors import ConfigError, StageError
from components.core.fingerprints import ROOT, Code, outside_parts
from components.core.paths import KEEP, Workspace, fingerprint_file, parts_file, read_lists
from components.core.storage import read_json, write_json, write_text
from components.profile import Profile, load_profile

# Stands in the place of every section of a profile that is not valid; its stages say why.
_INVALID = "not valid"


def write_inputs(root: Path) -> None:
    """Write what the DVC stage `inputs` writes, and make the folders of champions.

    Raises `ConfigError` for names in `params.yaml` that are no names of profiles, since DVC makes
    paths of them.
    """
    lists, code = read_lists(Workspace(root, "").parameters), Code(root)
    for stage in TABLE.values():
        write_text(fingerprint_file(root, stage.name), code_of(stage, code) + "\n")
    write_json(parts_file(root), outside_parts())
    for name in {name for entries in lists.values() for name in entries}:
        workspace = Workspace(root, name)
        write_json(workspace.settings, settings_of(workspace))
        keep_folder(workspace.champion)


def keep_folder(folder: Path) -> None:
    """Make a profile's folder for its champion; DVC watches it, and git keeps it when empty."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / KEEP).exists():
        (folder / KEEP).touch()


def settings_of(workspace: Workspace) -> dict[str, Any]:
    """Return a profile's settings as JSON values, defaults and all, a section each."""
    try:
        return load_profile(workspace.profile_file).model_dump(mode="json")
    except ConfigError:
        watched = (key for stage in TABLE.values() for key in (stage.seed, *stage.settings))
        return dict.fromkeys([*watched, *TABLE], _INVALID)


def load_settings(workspace: Workspace) -> Profile:
    """Return the profile with the settings that DVC keeps with the results.

    Raises `ConfigError` with what is wrong with the profile's file where that is not valid.
    """
    settings = read_json(workspace.settings)
    if settings["seed"] == _INVALID:
        load_profile(workspace.profile_file)
        raise StageError(f"{workspace.profile_file} was changed meanwhile; start again")
    return Profile.model_validate({**settings, "name": workspace.profile})


def modules_of(stage: Stage) -> tuple[str, ...]:
    """Return the modules whose imports are the code of a stage: what DVC calls, the stage's
    function, and the results that it takes and returns."""
    results = (f"{TABLE[name].package}.result" for name in (stage.name, *stage.upstream))
    return (f"{__package__}.__main__", stage.module, *results)


def code_of(stage: Stage, code: Code | None = None) -> str:
    """Return the fingerprint of all code that decides what a stage writes. Of the table it is the
    stage's own row."""
    modules = modules_of(stage)
    return (code or Code()).fingerprint(*modules, apart=(Stage.__module__,), also=repr(stage))


def check_code(name: str, workspace: Workspace) -> None:
    """Raise `StageError` unless the code that runs is the one whose fingerprint DVC keeps with the
    result: it may have been changed since, or come from another checkout."""
    file = fingerprint_file(workspace.root, name)
    if not file.is_file() or file.read_text(encoding="utf-8").strip() != code_of(TABLE[name]):
        raise StageError(
            f"{file.relative_to(workspace.root)} is not the fingerprint of the code that runs, "
            f"which lies in {ROOT}: it was changed meanwhile, it is not the code of "
            f"{workspace.root}, or a package that adds parts was installed. Run `dvc repro --force "
            "inputs` there and start again: the stages that are done are kept"
        )


def parts_changed(root: Path) -> bool:
    """Return whether other packages add other parts than when `inputs` ran, which DVC cannot
    know."""
    file = parts_file(root)
    return file.is_file() and read_json(file) != outside_parts()
