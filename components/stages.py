"""The table of stages: which function runs, on which section, after which results.

A stage function is `(section, *upstream, seed, out) -> Result`. It reads its inputs, writes into
the folder `out`, which is empty or holds what a killed run of the same left there, and touches
nothing else. The table is held against `dvc.yaml` by a test.
"""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.config import Profile, Section
from components.launcher import launch, named_launcher, reported
from components.provenance import run_record
from components.results import RESULTS, Champion, Result, SuiteSet, load_result
from components.storage import atomic_folder, digest_bytes, digest_folder, resumable_folder
from components.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: `function` as module:name, and the stages whose results it takes, in order.

    Before them it takes its own section of the profile, and then those named in `settings`. With
    `suites` it takes the prepared prompts with the named suites beside them; without, what it reads
    of `prepare` is the same whatever suites there are. One that `faces` the champion takes it last,
    where its section says so.

    A stage that `resumes` goes on where a killed run stopped; so does one that `trains`, which also
    runs under `SAFEREACT_LAUNCHER`.
    """

    name: str
    function: str
    upstream: tuple[str, ...]
    settings: tuple[str, ...] = ()
    suites: bool = False
    faces: bool = False
    resumes: bool = False
    trains: bool = False


TABLE = {
    stage.name: stage
    for stage in (
        Stage("prepare", "components.corpus.stage:prepare", ()),
        Stage("models", "components.lab.stage:models", ("prepare",)),
        Stage("probe", "components.probing.stage:probe", ("prepare", "models")),
        Stage(
            "train",
            "components.training.stage:train",
            ("prepare", "models", "probe"),
            trains=True,
        ),
        Stage(
            "evaluate",
            "components.evaluation.stage:evaluate",
            ("prepare", "models", "train"),
            suites=True,
            faces=True,
            resumes=True,
        ),
        Stage(
            "gate",
            "components.release.stage:gate",
            ("prepare", "models", "train", "evaluate"),
            suites=True,
        ),
        Stage(
            "report",
            "components.reporting.stage:report",
            ("prepare", "models", "probe", "train", "evaluate", "gate"),
            suites=True,
        ),
        Stage(
            "baselines",
            "components.training.baselines:baselines",
            ("prepare", "models", "probe"),
            settings=("train",),
            trains=True,
        ),
        Stage(
            "compare",
            "components.evaluation.comparison:compare",
            ("prepare", "models", "probe", "evaluate", "baselines"),
            settings=("evaluate",),
            suites=True,
            resumes=True,
        ),
        Stage(
            "undo",
            "components.training.undo:undo",
            ("prepare", "models", "train"),
            settings=("train",),
            trains=True,
        ),
        Stage(
            "withstand",
            "components.evaluation.withstand:withstand",
            ("prepare", "models", "probe", "train", "undo"),
            settings=("evaluate",),
            resumes=True,
        ),
    )
}


def run_stage(name: str, profile: Profile, workspace: Workspace) -> Any:
    """Run one stage on the results in `workspace` and return its result.

    The stage writes into a scratch folder that replaces the old one only when it succeeded, so a
    killed stage leaves nothing half-written. A training that was killed after it had saved its
    result is not begun again.
    """
    stage, folder = TABLE[name], workspace.stage(name)
    sections, upstream = _inputs(stage, profile, workspace)
    with run_record(workspace.run_record(name)):
        if not (stage.resumes or stage.trains):
            with atomic_folder(folder) as out:
                _work(stage)(*sections, *upstream, seed=profile.seed, out=out)
            return load_result(name, folder)
        rooms = (stage.function.split(".")[1], "lm")
        # A champion that is promoted meanwhile leaves what the other arms have written.
        lasting = [result for result in upstream if not isinstance(result, Champion)]
        key = dependencies(sections, profile.seed, lasting, rooms=rooms)
        with resumable_folder(folder, key) as out:
            launcher = named_launcher()
            if stage.trains and (out / RESULTS[name].FILE).is_file():
                log.info("%s: an earlier run had finished it", name)
            elif stage.trains and launcher:
                launch(launcher, name, profile.name, out)
            else:
                _work(stage)(*sections, *upstream, seed=profile.seed, out=out)
    return load_result(name, folder)


def run_process(name: str, profile: Profile, workspace: Workspace, out: Path) -> None:
    """Run one stage into `out` as one of the processes that a launcher started."""
    stage = TABLE[name]
    sections, upstream = _inputs(stage, profile, workspace)
    with reported(out):
        _work(stage)(*sections, *upstream, seed=profile.seed, out=out)


def _inputs(stage: Stage, profile: Profile, workspace: Workspace) -> tuple[list[Any], list[Any]]:
    upstream = [
        SuiteSet.load(workspace.stage(before))
        if before == "prepare" and stage.suites
        else load_result(before, workspace.stage(before))
        for before in stage.upstream
    ]
    sections = [getattr(profile, part) for part in (stage.name, *stage.settings)]
    if stage.faces and sections[0].champion:
        upstream.append(Champion.load(workspace.champion))
    return sections, upstream


def _work(stage: Stage) -> Any:
    module, function = stage.function.split(":")
    return getattr(importlib.import_module(module), function)


def dependencies(
    sections: Sequence[Section], seed: int, upstream: Sequence[Result], *, rooms: Sequence[str]
) -> str:
    """Return a digest of all that a result depends on: settings, but for those of manner, inputs
    and the code of `rooms`."""
    components = Path(__file__).parent
    parts = [
        *(json.dumps(section.deciding(), sort_keys=True) for section in sections),
        str(seed),
        *(type(result).digest_of(result.folder) for result in upstream),
        *(digest_folder(components / room, suffixes=(".py",)) for room in rooms),
    ]
    return digest_bytes("\n".join(parts).encode())
