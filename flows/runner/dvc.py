"""The stages through DVC, each in a child process that dies with this one."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from components.chain import STAGES, dvc_name, listed_stages, split_dvc_name
from components.core.disk import printed_disk_trouble
from components.core.errors import (
    BusyError,
    ConfigError,
    InterruptionError,
    SafeReActError,
    StageError,
)
from components.core.paths import INPUTS, RUNS, Workspace, parts_file
from components.core.storage import OWNER
from components.core.untrusted_text import visible
from components.declared_inputs import declare_files
from components.inputs import parts_changed
from flows.runner.child import child_process
from flows.runner.environment import stage_environment
from flows.runner.lock import one_run
from flows.runner.profiles import check_profile
from flows.runner.registry import bring_champion, describe_champion

# What DVC says about itself; it goes to the log file only.
_CHATTER = (
    "Running stage '",
    "> ",
    "Updating lock file",
    "Generating lock file",
    "To track the changes",
    "git add",
    "To enable auto staging",
    "dvc config core.autostage",
    "Use `dvc push`",
    "Data and pipelines are up to date",
    "WARNING: Process '",  # the lock of a run that was killed, which DVC removed
)
_DVC_ERROR = "ERROR: "
_BUSY = ("is busy", "Unable to acquire lock")
_DAMAGED = ("validation failed", "unable to read", "is not a .dvc file", "corrupt")
_HOLDER = re.compile(r"\(PID (\d+)\): (.+)")
_EXITED = re.compile(r"exited with (-?\d+)")

Report = Callable[[str], None]

logger = logging.getLogger(__name__)


def stale_stages(workspace: Workspace, stages: Sequence[str] = STAGES) -> set[str]:
    """Return those of `stages` whose code, inputs, settings or outputs changed since DVC last ran
    them.

    A stage that is not among them is up to date only as long as none before it runs. The files that
    `dvc.yaml` names, the fingerprints of the code and the settings are brought up to date first.
    """
    declare_files(workspace.root)
    force = parts_changed(workspace.root)
    stale = _stale(workspace, stages) if parts_file(workspace.root).is_file() else {INPUTS}
    if INPUTS in stale or force:
        run_stage(INPUTS, workspace, partial(logger.debug, "[%s] %s", INPUTS), force=force)
        stale = _stale(workspace, stages)
    return stale


def _stale(workspace: Workspace, stages: Sequence[str]) -> set[str]:
    targets = [INPUTS, *(dvc_name(stage, workspace.profile) for stage in stages)]
    answer = call_dvc(workspace, "status", "--json", *targets)
    if answer.returncode != 0:
        raise _explain("dvc status", answer.stderr.splitlines(), workspace.log("status"))
    return {split_dvc_name(name)[0] for name in json.loads(answer.stdout)}


def bring_up_to_date(workspace: Workspace, stages: Sequence[str]) -> None:
    """Run those of `stages` that are stale, in their order, and log what they print."""
    log = partial(logger.info, "[%s] %s")

    def bring() -> bool:
        changed = bring_champion(workspace)
        if changed:
            log("champion", describe_champion(workspace))
        return changed

    for stage, up_to_date in in_turn(workspace, stages, bring):
        reproduce(stage, workspace, log, up_to_date=up_to_date)


def reproduce(
    stage: str, workspace: Workspace, log: Callable[[str, str], None], *, up_to_date: bool
) -> None:
    """Run one stage through DVC unless it is up to date; `log` gets the stage and each line."""
    if up_to_date:
        log(stage, "up to date")
        return
    start = time.monotonic()
    log(stage, "starts")
    run_stage(stage, workspace, partial(log, stage))
    log(stage, f"done in {time.monotonic() - start:.0f} s")


def run_study(workspace: Workspace, command: str, key: str) -> None:
    """Bring up to date what the study that `params.yaml` lists under `key` needs and is.

    Raises what a stage raised, and `BusyError` where another run works in this repository.
    """
    stages = (*STAGES[: STAGES.index("evaluate") + 1], *listed_stages(key))
    check_profile(workspace, stages)
    with one_run(workspace.root, f"{command} {workspace.profile}"):
        bring_up_to_date(workspace, stages)


def in_turn(
    workspace: Workspace, stages: Sequence[str], bring: Callable[[], bool]
) -> Iterator[tuple[str, bool]]:
    """Yield the stages in their order, each with whether it is up to date and need not be run.

    `bring` brings the champion before the evaluation and tells whether it changed. Whatever follows
    a stage that ran may have become stale by it.
    """
    stale, ran = stale_stages(workspace, stages), False
    for stage in stages:
        ran = (stage == "evaluate" and bring()) or ran or stage in stale
        yield stage, not ran


def call_dvc(
    workspace: Workspace, *arguments: str, runs: Path | None = None, state: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Return what DVC answered to a command, whatever its exit code.

    `runs` is where stages in a copy of the repository leave records and unfinished work, `state`
    where DVC notes the digests of files, if not where it always does.
    """
    more = {RUNS: runs, "DVC_SITE_CACHE_DIR": state}
    with _child(arguments, workspace.root, errors=subprocess.PIPE, more=more) as child:
        output, errors = child.communicate()
    return subprocess.CompletedProcess(child.args, child.returncode, output, errors)


def run_stage(stage: str, workspace: Workspace, report: Report, *, force: bool = False) -> None:
    """Run `stage` through DVC, which skips it where nothing changed, unless it has to be forced;
    `report` gets every line.

    The lines also go to the stage's log file. Raises `BusyError` where another DVC process works
    in this repository, and otherwise an error with the stage's own last message.
    """
    log = workspace.log(stage)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch(OWNER)
    target = stage if stage == INPUTS else dvc_name(stage, workspace.profile)
    command = ["repro", "--single-item", *(["--force"] if force else []), target]
    lines: list[str] = []
    with log.open("w", encoding="utf-8") as file, _child(command, workspace.root) as child:
        for line in map(visible, child.stdout or ()):
            file.write(line)
            file.flush()
            lines.append(line.rstrip())
            if lines[-1] and not lines[-1].lstrip().startswith(_CHATTER):
                report(lines[-1])
        code = child.wait()
    if code != 0:
        raise _explain(stage, lines, log)


def _child(
    arguments: Sequence[str],
    root: Path,
    *,
    errors: int = subprocess.STDOUT,
    more: Mapping[str, Path | None] | None = None,
) -> AbstractContextManager[subprocess.Popen[str]]:
    """Yield a DVC process; nothing that it started is left afterwards."""
    given = {key: str(path) for key, path in (more or {}).items() if path}
    command = [sys.executable, "-m", "dvc", *arguments]
    return child_process(command, cwd=root, env=stage_environment() | given, errors=errors)


def _explain(stage: str, lines: list[str], log: Path) -> SafeReActError:
    """Return the one error that tells why `stage` failed, from what it printed."""
    text = "\n".join(lines)
    end = next((i for i, line in enumerate(lines) if line.startswith(_DVC_ERROR)), len(lines))
    own = [i for i in range(end) if lines[i].startswith(f"{stage}: ")]
    if not own and (trouble := printed_disk_trouble(text)):
        return InterruptionError(f"{stage}: {trouble}")
    if any(mark in text for mark in _BUSY):
        holder = _HOLDER.search(text)
        who = f"process {holder[1]} ({holder[2]})" if holder else "another DVC process"
        return BusyError(f"{who} works in this repository; wait until it is done, or end it")
    exited = _EXITED.search("\n".join(lines[end:]))
    code = int(exited[1]) if exited else 1
    if own:
        message = "\n".join(lines[own[-1] : end]).strip()
        return (ConfigError if code == ConfigError.exit_code else StageError)(message)
    if code < 0 or code > 128:
        number = -code if code < 0 else code - 128
        hint = "; out of memory is the usual cause" if number == signal.SIGKILL else ""
        return StageError(f"{stage} was killed by signal {number}{hint}; its output is in {log}")
    if exited:
        last = next((line for line in reversed(lines[:end]) if line.strip()), "it said nothing")
        return StageError(f"{stage} failed: {last.strip()}; its whole output is in {log}")
    said = lines[end:] or [line for line in lines if line.strip()] or ["DVC said nothing"]
    answer = said[-1 if said[0].startswith("Traceback") else 0].removeprefix(_DVC_ERROR)
    return StageError(f"{stage}: {answer}{lock_remedy(answer)}")


def lock_remedy(said: str) -> str:
    """Return what is to be done where DVC said that its record of what ran is damaged; else
    nothing."""
    if "dvc.lock" not in said or not any(mark in said for mark in _DAMAGED):
        return ""
    return (
        "; the record of what ran is damaged: `git checkout dvc.lock` brings the last one back, or "
        "move it away, and `safereact run` takes from DVC's cache what it has"
    )
