"""The profile: everything that can be set about one model pair, one section a stage."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from components.core.documents import read_yaml, received
from components.core.errors import ConfigError
from components.core.paths import PROFILE_NAME
from components.core.registration import Registration
from components.core.section import Section, explain
from components.evaluate.settings import EvaluateSettings
from components.gate.settings import GateSettings
from components.models.settings import ModelsSettings
from components.prepare.settings import PrepareSettings
from components.probe.settings import ProbeSettings
from components.report.settings import ReportSettings
from components.studies.baselines.settings import BaselinesSettings
from components.studies.compare.settings import CompareSettings
from components.studies.tune.settings import TuneSettings
from components.studies.undo.settings import UndoSettings
from components.studies.withstand.settings import WithstandSettings
from components.train.settings import TrainSettings

_EXTENDS = "extends"
_BASE_NAME = re.compile(rf"(bases/)?{PROFILE_NAME.pattern}")


class Profile(Section):
    """One model pair and how it is kept safe."""

    name: str = Field(exclude=True, description="the file's name, not a key of the file")
    description: str = Field("", description="what the profile is, in words")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        0, description="what training and models draw at random depends on it"
    )
    data_seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        0,
        description="which prompts are taken, how they are split and which are asked; the same for "
        "every `seed`",
    )
    prepare: PrepareSettings
    models: ModelsSettings
    probe: ProbeSettings = ProbeSettings()
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    gate: GateSettings = GateSettings()
    report: ReportSettings = ReportSettings()
    baselines: BaselinesSettings = BaselinesSettings()
    compare: CompareSettings = CompareSettings()
    undo: UndoSettings = UndoSettings()
    withstand: WithstandSettings = WithstandSettings()
    tune: TuneSettings = TuneSettings()
    registration: Registration


def load_profile(path: Path) -> Profile:
    """Return the profile in the YAML file `path`.

    What it `extends` comes first, see `read_profile`. Raises `ConfigError` naming the file, the
    key, the value received and what is allowed.
    """
    if not PROFILE_NAME.fullmatch(path.stem):
        raise ConfigError(
            f"{str(path)!r}: a profile's name has small letters, digits, '.', '_' and '-' only, "
            "and begins with a letter or digit; rename the file"
        )
    document = read_profile(path)
    if "name" in document:
        raise ConfigError(f"{path}: key 'name' is not allowed; the file's name is the profile's")
    try:
        return Profile.model_validate({**document, "name": path.stem})
    except ValidationError as error:
        raise ConfigError(f"{path} is not a valid profile:\n{explain(error)}") from error


def read_profile(path: Path) -> dict[str, Any]:
    """Return the keys of the profile in `path` with those of the files that it extends.

    `extends: NAME` names the file NAME.yaml beside the profile, `extends: bases/NAME` one in the
    folder bases/, which holds no profiles of their own. That file may extend another. Mappings are
    merged key by key, lists of entries with a `name` entry by entry. Any other list or value
    replaces what it extends; so does a mapping of another `kind`. Raises `ConfigError` for a name
    that is not allowed, a file that is missing, and files that extend one another.
    """
    documents: dict[Path, dict[str, Any]] = {}
    file: Path | None = path
    while file:
        documents[file] = read_yaml(file)
        file = _extended(file, documents[file].pop(_EXTENDS, None), path.parent)
        if file in documents:
            circle = " extends ".join(str(place) for place in (*documents, file))
            raise ConfigError(f"{circle}; leave `{_EXTENDS}` out of one of them")
    merged: Any = {}
    for document in reversed(documents.values()):
        merged = _merged(merged, document)
    return dict(merged)


def _extended(file: Path, name: object, folder: Path) -> Path | None:
    """Return the file that `file` names as the one that it extends."""
    if name is None:
        return None
    if not isinstance(name, str) or not _BASE_NAME.fullmatch(name):
        raise ConfigError(
            f"{file}: `{_EXTENDS}` is {received(name)}; give the name of a profile, or bases/NAME "
            f"for a file in {folder / 'bases'}"
        )
    base = folder / f"{name}.yaml"
    if not base.is_file():
        raise ConfigError(f"{file}: `{_EXTENDS}: {name}` names {base}, which does not exist")
    return base


def _merged(base: Any, own: Any) -> Any:
    """Return `own` with what it does not say of `base`."""
    if isinstance(base, Mapping) and isinstance(own, Mapping):
        if own.get("kind", base.get("kind")) != base.get("kind"):
            return own
        return {**base, **{key: _merged(base.get(key), value) for key, value in own.items()}}
    if (theirs := _by_name(base)) and (ours := _by_name(own)):
        return list(_merged(theirs, ours).values())
    return own


def _by_name(entries: Any) -> dict[str, Any] | None:
    """Return the entries of a list by their names; None where one has none."""
    named = isinstance(entries, list) and all(
        isinstance(e, Mapping) and "name" in e for e in entries
    )
    return {str(entry["name"]): entry for entry in entries} if named else None
