"""The table of stages: which function runs, on which section, after which results.

A stage function is `(section, *upstream, seed, out) -> Result`. It reads its inputs, writes into
the empty folder `out` and touches nothing else. The table is held against `dvc.yaml` by a test.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from components.config import Profile
from components.provenance import run_record
from components.results import load_result
from components.storage import atomic_folder
from components.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: `function` as module:name, and the stages whose results it takes, in order."""

    name: str
    function: str
    upstream: tuple[str, ...]


TABLE = {
    stage.name: stage
    for stage in (
        Stage("prepare", "components.corpus.stage:prepare", ()),
        Stage("models", "components.lab.stage:models", ("prepare",)),
        Stage("probe", "components.probing.stage:probe", ("prepare", "models")),
        Stage("train", "components.training.stage:train", ("prepare", "models", "probe")),
        Stage("evaluate", "components.evaluation.stage:evaluate", ("prepare", "models", "train")),
        Stage(
            "gate",
            "components.release.stage:gate",
            ("prepare", "models", "train", "evaluate"),
        ),
        Stage(
            "report",
            "components.reporting.stage:report",
            ("prepare", "models", "probe", "train", "evaluate", "gate"),
        ),
    )
}


def run_stage(name: str, profile: Profile, workspace: Workspace) -> Any:
    """Run one stage on the results in `workspace` and return its result.

    The stage writes into a scratch folder that replaces the old one only when it succeeded, so a
    killed stage leaves nothing half-written.
    """
    stage = TABLE[name]
    upstream = [load_result(before, workspace.stage(before)) for before in stage.upstream]
    module, function = stage.function.split(":")
    work = getattr(importlib.import_module(module), function)
    with run_record(workspace.run_record(name)), atomic_folder(workspace.stage(name)) as out:
        work(getattr(profile, name), *upstream, seed=profile.seed, out=out)
    return load_result(name, workspace.stage(name))
