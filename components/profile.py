"""The profile: everything that can be set about one model pair, one section a stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, ValidationError

from components.core.documents import read_yaml
from components.core.errors import ConfigError
from components.core.paths import PROFILE_NAME
from components.core.section import Section, Text, explain
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

# MLflow refuses slashes, colons and names that a path would change; its searches and addresses read
# quotes, `@`, `#`, `?` and `%` as their own.
RegisteredName = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=250, pattern=r"^\w[\w .+-]*$")
]


class Registration(Section):
    """Where an accepted adapter goes; the server's address comes from the environment."""

    name: RegisteredName = Field(
        description="registered model's name in MLflow: letters, digits, `_`, `-`, `.`, `+`, blanks"
    )
    experiment: Annotated[Text, Field(max_length=250)] = Field(
        "safereact", description="MLflow experiment"
    )


class Profile(Section):
    """One model pair and how it is kept safe."""

    name: str = Field(exclude=True, description="the file's name, not a key of the file")
    description: str = Field("", description="what the profile is, in words")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        0, description="all that is drawn at random depends on it"
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

    Raises `ConfigError` naming the file, the key, the value received and what is allowed.
    """
    if not PROFILE_NAME.fullmatch(path.stem):
        raise ConfigError(
            f"{str(path)!r}: a profile's name has small letters, digits, '.', '_' and '-' only, "
            "and begins with a letter or digit; rename the file"
        )
    document = read_yaml(path)
    if "name" in document:
        raise ConfigError(f"{path}: key 'name' is not allowed; the file's name is the profile's")
    try:
        return Profile.model_validate({**document, "name": path.stem})
    except ValidationError as error:
        raise ConfigError(f"{path} is not a valid profile:\n{explain(error)}") from error
