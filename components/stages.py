"""Running a stage of the table: upstream results in, one folder out, nothing half-written."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.chain import TABLE, Stage, load_result
from components.core.errors import TeacherError
from components.core.launcher import launch, named_launcher, reported
from components.core.paths import Workspace
from components.core.result import Result
from components.core.run_record import git_commit, run_record
from components.core.section import Section
from components.core.storage import atomic_folder, digest_bytes, resumable_folder
from components.evaluate.result import Champion
from components.inputs import code_of
from components.prepare.result import PromptSet
from components.profile import Profile

log = logging.getLogger(__name__)


def run_stage(name: str, profile: Profile, workspace: Workspace) -> Any:
    """Run one stage on the results in `workspace` and return its result.

    The stage writes into a scratch folder that replaces the old one only when it succeeded, so a
    killed stage leaves nothing half-written. A training that was killed after it had saved its
    result is not begun again.
    """
    stage, folder = TABLE[name], workspace.stage(name)
    with run_record(workspace.run_record(name)) as about:
        _run(stage, profile, workspace)
        about["result"] = stage.result_class.digest_of(folder)
        about["day"] = datetime.now(UTC).date().isoformat()
        commit, changed = git_commit(workspace.root)
        about["commit"] = f"{commit}, changed" if changed else commit
    return load_result(name, folder)


def _run(stage: Stage, profile: Profile, workspace: Workspace) -> None:
    name, folder, seed = stage.name, workspace.stage(stage.name), getattr(profile, stage.seed)
    sections, upstream = _inputs(stage, profile, workspace)
    if not (stage.resumes or stage.trains):
        with atomic_folder(folder) as out, _pointing_on(workspace):
            _function(stage)(*sections, *upstream, seed=seed, out=out)
    else:
        # A champion that is promoted meanwhile leaves what the other arms have written.
        lasting = [result for result in upstream if not isinstance(result, Champion)]
        key = dependencies(sections, [seed], lasting, code=code_of(stage))
        with resumable_folder(folder, key, workspace.unfinished(name)) as out:
            launcher = named_launcher()
            if stage.trains and (out / stage.result_class.FILE).is_file():
                log.info("%s: an earlier run had finished it", name)
            elif stage.trains and launcher:
                launch(launcher, name, profile.name, out)
            else:
                _function(stage)(*sections, *upstream, seed=seed, out=out)


@contextmanager
def _pointing_on(workspace: Workspace) -> Iterator[None]:
    """Say, where nothing can be trained for want of a teacher, what can be learnt all the same."""
    try:
        yield
    except TeacherError as error:
        raise TeacherError(
            f"{error}\n`safereact diagnose --profile {workspace.profile}` says how much safety was "
            "lost, where, and what was tried"
        ) from error


def run_process(name: str, profile: Profile, workspace: Workspace, out: Path) -> None:
    """Run one stage into `out` as one of the processes that a launcher started."""
    stage = TABLE[name]
    sections, upstream = _inputs(stage, profile, workspace)
    with reported(out):
        _function(stage)(*sections, *upstream, seed=getattr(profile, stage.seed), out=out)


def _function(stage: Stage) -> Callable[..., Result]:
    """Return the function of a stage. What it imports stays, so the garbage collector, which is
    called between models, need not look through it each time: that is a fifth of a short stage."""
    gc.disable()
    function = stage.function
    gc.freeze()
    gc.enable()
    return function


def _inputs(stage: Stage, profile: Profile, workspace: Workspace) -> tuple[list[Any], list[Any]]:
    upstream = [
        PromptSet.load(workspace.stage(before))
        if before == "prepare" and not stage.tests
        else load_result(before, workspace.stage(before))
        for before in stage.upstream
    ]
    sections = [getattr(profile, part) for part in (stage.name, *stage.settings)]
    if stage.champion and sections[0].champion:
        upstream.append(Champion.load(workspace.champion))
    return sections, upstream


def dependencies(
    sections: Sequence[Section], seeds: Sequence[int], upstream: Sequence[Result], *, code: str
) -> str:
    """Return a digest of all that a result depends on: settings, but for those of manner, inputs
    and the fingerprint of the code."""
    parts = [
        *(json.dumps(section.deciding(), sort_keys=True) for section in sections),
        *map(str, seeds),
        *(type(result).digest_of(result.folder) for result in upstream),
        code,
    ]
    return digest_bytes("\n".join(parts).encode())
