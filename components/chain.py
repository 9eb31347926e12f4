"""The stages, each declared once. All else follows from a row.

The stage `evaluate` is the function `evaluate` in `components/evaluate/stage.py`. It takes the
section `evaluate` of the profile and returns the `Evidence` of `components/evaluate/result.py`. A
study lies in `components/studies/`. `python -m components.chain` writes `dvc.yaml` from the table.

DVC makes a stage for every profile on a list, `models@tiny`. Such stages have equally many
dependencies, and the files that profiles name differ in number: a stage that reads these is written
for each profile, `prepare-tiny`.

A stage function is `(settings, *upstream, seed, out) -> Result`. It reads its inputs, writes into
the folder `out`, which is empty or holds what a killed run of the same left there, and touches
nothing else. DVC, Prefect, a test and a notebook call it alike.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from components.core.documents import ENDLESS, read_yaml
from components.core.paths import (
    BARS,
    CALIBRATION,
    FIGURES,
    INPUTS,
    INPUTS_FOLDER,
    LABELS,
    LISTED,
    MANIFEST,
    OVERRIDES,
    POLICIES,
    PROMPTS,
    REPORT,
    WITHSTOOD,
    Workspace,
    find_root,
    fingerprint_file,
)
from components.core.result import Result
from components.core.storage import EVERYBODY, write_text


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: its name, the class of its result, and the stages whose results it takes.

    Before those results it takes its own section of the profile and the sections in `settings`.
    """

    name: str
    result: str
    upstream: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()  # files and folders outside the profile that it reads
    named: bool = False  # reads the files of prompts that profiles name
    file_only: tuple[str, ...] = ()  # upstream stages of which it reads the result's file alone
    tests: bool = False  # takes the test prompts, suites among them, beside those that train
    champion: bool = False  # takes the champion last, where its section asks for it
    resumes: bool = False  # goes on where a killed run stopped
    trains: bool = False  # the same, and it runs under SAFEREACT_LAUNCHER
    seed: str = "seed"  # the key of the profile that its draws depend on
    files: tuple[str, ...] = ()  # its outputs one by one, where DVC shows some of them
    listed: str = LISTED  # the list in params.yaml of the profiles that it runs for

    @property
    def package(self) -> str:
        """The folder of its code, as a package."""
        return f"components.{'' if self.listed == LISTED else 'studies.'}{self.name}"

    @property
    def module(self) -> str:
        """The module of its function."""
        return f"{self.package}.stage"

    @property
    def function(self) -> Callable[..., Result]:
        """Its function, imported with all that it needs."""
        function: Callable[..., Result] = getattr(importlib.import_module(self.module), self.name)
        return function

    @property
    def result_class(self) -> type[Result]:
        """The class of its result."""
        found: type[Result] = getattr(
            importlib.import_module(f"{self.package}.result"), self.result
        )
        return found


DATA_SEED = "data_seed"
DVC_FILE = "dvc.yaml"
TABLE = {
    stage.name: stage
    for stage in (
        Stage("prepare", "SuiteSet", named=True, seed=DATA_SEED),
        Stage("models", "Models", ("prepare",), inputs=("${item.checkpoints}",)),
        Stage("probe", "Probe", ("prepare", "models")),
        Stage("train", "Adapter", ("prepare", "models", "probe"), trains=True),
        Stage(
            "evaluate",
            "Evidence",
            ("prepare", "models", "train"),
            inputs=(CALIBRATION,),
            tests=True,
            champion=True,
            resumes=True,
            seed=DATA_SEED,
        ),
        Stage(
            "gate",
            "Decision",
            ("prepare", "models", "train", "evaluate"),
            settings=("prepare", "evaluate"),
            inputs=(OVERRIDES, POLICIES, CALIBRATION, LABELS, WITHSTOOD),
            file_only=("models",),
            tests=True,
            seed=DATA_SEED,
        ),
        Stage(
            "report",
            "Report",
            ("prepare", "models", "probe", "train", "evaluate", "gate"),
            settings=("gate", "registration"),
            file_only=("models",),
            tests=True,
            seed=DATA_SEED,
            files=(REPORT, "report.json", FIGURES, BARS),
        ),
        Stage(
            "baselines",
            "Baselines",
            ("prepare", "models", "probe"),
            settings=("train",),
            trains=True,
            listed="compared",
        ),
        Stage(
            "compare",
            "Comparison",
            ("prepare", "models", "probe", "evaluate", "baselines"),
            settings=("evaluate",),
            inputs=(CALIBRATION,),
            tests=True,
            resumes=True,
            listed="compared",
            seed=DATA_SEED,
        ),
        Stage(
            "undo",
            "Undo",
            ("prepare", "models", "train"),
            settings=("train",),
            trains=True,
            listed="attacked",
        ),
        Stage(
            "withstand",
            "Withstand",
            ("prepare", "models", "probe", "train", "undo"),
            settings=("evaluate",),
            inputs=(CALIBRATION,),
            tests=True,
            resumes=True,
            listed="attacked",
            seed=DATA_SEED,
        ),
    )
}
LISTS = tuple(dict.fromkeys(stage.listed for stage in TABLE.values()))


def listed_stages(key: str) -> tuple[str, ...]:
    """Return the stages that run for the profiles under `key` of `params.yaml`, in their order."""
    return tuple(name for name, stage in TABLE.items() if stage.listed == key)


STAGES = listed_stages(LISTED)


def dvc_name(stage: str, profile: str) -> str:
    """Return what DVC calls a stage of a profile."""
    return f"{stage}{_mark(stage)}{profile}"


def split_dvc_name(name: str) -> tuple[str, str]:
    """Return the stage and the profile that DVC calls by a name; no profile for `inputs`."""
    for stage in TABLE:
        if name.startswith(start := stage + _mark(stage)):
            return stage, name.removeprefix(start)
    return name, ""


def _mark(stage: str) -> str:
    return "-" if TABLE[stage].named else "@"


def load_result(stage: str, folder: Path) -> Any:
    """Return the result of `stage` in `folder`."""
    return TABLE[stage].result_class.load(folder)


HEAD = """\
# Written by `python -m components.chain` from the table in components/chain.py; do not edit.
#
# `dvc repro` runs what is stale; the Prefect flow runs the same stages through the same cache. The
# stage `inputs` runs first: it writes the fingerprint of each stage's code and the settings of each
# profile with what it extends, so that a comment makes nothing else stale. No command holds a name
# from params.yaml, since a shell would read it: DVC tells the stage whose it is. Stages that train
# depend on the two files of prepared prompts that no test prompt changes. The files that a profile
# names stand at its stage `prepare`: `safereact init`, `add` and `run` keep them so.
"""


def declared_files(root: Path) -> dict[str, list[str]]:
    """Return the files that `dvc.yaml` names at the stages that read such, by profile."""
    found: dict[str, list[str]] = {}
    for name, body in (read_yaml(root / DVC_FILE).get("stages") or {}).items():
        stage, profile = split_dvc_name(name)
        if profile and TABLE[stage].named:
            behind = body["deps"].index(_fingerprint(stage)) + 1
            found[profile] = body["deps"][behind:]
    return found


def dvc_file(files: Mapping[str, Sequence[str]]) -> str:
    """Return what `dvc.yaml` has to hold where profiles name `files`."""
    from ruamel.yaml import YAML

    yaml, stream = YAML(), StringIO()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = ENDLESS
    first = {
        "cmd": f"python -m components {INPUTS}",
        "params": list(LISTS),
        "deps": ["components", "profiles"],
        "outs": [INPUTS_FOLDER],
    }
    stages: dict[str, Any] = {INPUTS: first}
    for stage in TABLE.values():
        if stage.named:
            bodies = {name: _body(stage, name, files[name]) for name in sorted(files)}
            stages |= {dvc_name(stage.name, name): body for name, body in bodies.items()}
        else:
            stages[stage.name] = {"foreach": f"${{{stage.listed}}}", "do": _body(stage, "${key}")}
    yaml.dump({"stages": stages}, stream)
    return HEAD + stream.getvalue()


def _body(stage: Stage, profile: str, files: Sequence[str] = ()) -> dict[str, Any]:
    sections, own = [stage.seed, stage.name, *stage.settings], Workspace(Path(), profile)
    return {
        "cmd": f"python -m components {stage.name}",
        "params": [{own.settings.as_posix(): sections}],
        "deps": [_fingerprint(stage.name), *_inputs(stage, own), *files],
        **_outputs(stage, own),
    }


def _fingerprint(stage: str) -> str:
    return fingerprint_file(Path(), stage).as_posix()


# How DVC draws the bars: one a figure and experiment, by the template of .dvc/plots.
_BARS = {"template": "rates", "x": "rate", "y": "figure", "x_label": "per cent"}


def _outputs(stage: Stage, own: Workspace) -> dict[str, Any]:
    folder = own.stage(stage.name).as_posix()
    if not stage.files:
        return {"outs": [folder]}
    shown = {FIGURES: "metrics", BARS: "plots"}
    return {
        "outs": [f"{folder}/{file}" for file in stage.files if file not in shown],
        "metrics": [f"{folder}/{FIGURES}"],
        "plots": [{f"{folder}/{BARS}": _BARS | {"title": f"{own.profile}: rates with intervals"}}],
    }


def _inputs(stage: Stage, own: Workspace) -> Iterator[str]:
    yield from stage.inputs
    if stage.champion:
        yield own.champion.as_posix()
    for name in stage.upstream:
        folder, file = own.stage(name).as_posix(), TABLE[name].result_class.FILE
        if name == "prepare" and not stage.tests:
            yield from (f"{folder}/{MANIFEST}", f"{folder}/{PROMPTS}")
        else:
            yield f"{folder}/{file}" if name in stage.file_only else folder


if __name__ == "__main__":
    write_text(find_root() / DVC_FILE, dvc_file(declared_files(find_root())), mode=EVERYBODY)
