"""Running a stage of the table: upstream results in, one folder out, nothing half-written."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.chain import TABLE, Stage, load_result
from components.core.errors import StageError
from components.core.fingerprints import ROOT, Code
from components.core.launcher import launch, named_launcher, reported
from components.core.paths import Workspace, fingerprint_file
from components.core.result import Result
from components.core.run_record import run_record
from components.core.section import Section
from components.core.storage import atomic_folder, digest_bytes, resumable_folder, write_text
from components.evaluate.result import Champion
from components.prepare.result import SuiteSet
from components.profile import Profile

log = logging.getLogger(__name__)


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
                stage.function(*sections, *upstream, seed=profile.seed, out=out)
            return load_result(name, folder)
        # A champion that is promoted meanwhile leaves what the other arms have written.
        lasting = [result for result in upstream if not isinstance(result, Champion)]
        key = dependencies(sections, profile.seed, lasting, code=code_of(stage))
        with resumable_folder(folder, key) as out:
            launcher = named_launcher()
            if stage.trains and (out / stage.result_class.FILE).is_file():
                log.info("%s: an earlier run had finished it", name)
            elif stage.trains and launcher:
                launch(launcher, name, profile.name, out)
            else:
                stage.function(*sections, *upstream, seed=profile.seed, out=out)
    return load_result(name, folder)


def run_process(name: str, profile: Profile, workspace: Workspace, out: Path) -> None:
    """Run one stage into `out` as one of the processes that a launcher started."""
    stage = TABLE[name]
    sections, upstream = _inputs(stage, profile, workspace)
    with reported(out):
        stage.function(*sections, *upstream, seed=profile.seed, out=out)


def _inputs(stage: Stage, profile: Profile, workspace: Workspace) -> tuple[list[Any], list[Any]]:
    upstream = [
        SuiteSet.load(workspace.stage(before))
        if before == "prepare" and stage.suites
        else load_result(before, workspace.stage(before))
        for before in stage.upstream
    ]
    sections = [getattr(profile, part) for part in (stage.name, *stage.settings)]
    if stage.champion and sections[0].champion:
        upstream.append(Champion.load(workspace.champion))
    return sections, upstream


def dependencies(
    sections: Sequence[Section], seed: int, upstream: Sequence[Result], *, code: str
) -> str:
    """Return a digest of all that a result depends on: settings, but for those of manner, inputs
    and the fingerprint of the code."""
    parts = [
        *(json.dumps(section.deciding(), sort_keys=True) for section in sections),
        str(seed),
        *(type(result).digest_of(result.folder) for result in upstream),
        code,
    ]
    return digest_bytes("\n".join(parts).encode())


def code_of(stage: Stage, code: Code | None = None) -> str:
    """Return the fingerprint of all code that decides what a stage writes: the import closure of
    what DVC calls, of the stage's function and of the results that it takes and returns. Of the
    table it is the stage's own row."""
    modules = modules_of(stage)
    return (code or Code()).fingerprint(*modules, apart=(Stage.__module__,), also=repr(stage))


def modules_of(stage: Stage) -> tuple[str, ...]:
    """Return the modules whose imports are the code of a stage."""
    results = (f"{TABLE[name].package}.result" for name in (stage.name, *stage.upstream))
    return (f"{__package__}.__main__", stage.module, *results)


def write_fingerprints(root: Path) -> None:
    """Write the fingerprint of every stage's code, on which DVC lets the stage depend."""
    code = Code(root)
    for stage in TABLE.values():
        write_text(fingerprint_file(root, stage.name), code_of(stage, code) + "\n")


def check_code(name: str, workspace: Workspace) -> None:
    """Raise `StageError` unless the code that runs is the one whose fingerprint DVC keeps with the
    result: it may have been changed since, or come from another checkout."""
    file = fingerprint_file(workspace.root, name)
    if not file.is_file() or file.read_text(encoding="utf-8").strip() != code_of(TABLE[name]):
        raise StageError(
            f"{file.relative_to(workspace.root)} is not the fingerprint of the code that runs, "
            f"which lies in {ROOT}: either it was changed meanwhile, or it is not the code of "
            f"{workspace.root}. Start again there: the stages that are done are kept"
        )
