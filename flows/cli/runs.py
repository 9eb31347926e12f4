"""Runs from the shell: of a profile, and of the same profile under several seeds.

A run goes to the server that PREFECT_API_URL names, else to an embedded one. Each seed is an
experiment of DVC's in a copy of the repository: one seed shows that something can happen; several
show whether it does.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.chain import STAGES, dvc_name
from components.core.disk import check_temporary, check_writable
from components.core.errors import BusyError, ConfigError, SafeReActError, StageError
from components.core.paths import DECIDING, SUITES, Workspace
from components.core.run_record import untracked
from components.core.storage import keep_private
from components.declared_inputs import declare_files, named_files
from components.evaluate.result import Evidence
from components.gate.result import Decision
from components.judges.settings import GuardSettings
from components.prepare.suites import used_suites
from components.profile import load_profile
from components.registry.mlflow_client import load_mlflow
from flows.cli.compare_tables import load_from
from flows.runner.dvc import call_dvc, stale_stages
from flows.runner.environment import check_prefect_server, embed_prefect
from flows.runner.lock import one_run
from flows.runner.prefect_server import start_prefect_server
from flows.runner.profiles import check_profile
from flows.runner.registry import Outcome, bring_champion, conclude, record_decision
from flows.runner.remote import push_version, pushes

log = logging.getLogger(__name__)


def run_retrain(workspace: Workspace, *, push: bool) -> Outcome:
    """Bring a profile up to date and return the outcome; raises what the flow `retrain` raised.

    Where nothing is stale there is nothing for a flow to do, so no server is started for it.
    """
    os.environ["SAFEREACT_ROOT"] = str(workspace.root)
    embed_prefect(workspace.root)
    server, home = os.environ.get("PREFECT_API_URL"), Path(os.environ["PREFECT_HOME"])
    if server:
        check_prefect_server(server)
    elif fresh := _outcome_if_fresh(workspace, push=push):
        return fresh
    stores = [] if server else [home]
    if "MLFLOW_TRACKING_URI" not in os.environ:
        stores.append(workspace.tracking_store)
    _check_room(stores)
    if server:
        return _run_flow(workspace.profile, stores, push=push)
    keep_private(home)
    server_unneeded = start_prefect_server()
    load_mlflow()  # while the server starts
    import httpx

    try:
        with _open_run(workspace.open_run):
            outcome = _run_flow(workspace.profile, stores, push=push)
            server_unneeded.set()
            return outcome
    except httpx.TransportError as error:
        raise StageError(
            f"the embedded Prefect server does not run; its state lies in {home}, which may be "
            "moved away: the next run begins a new one"
        ) from error


@contextmanager
def _open_run(mark: Path) -> Iterator[None]:
    """Leave `mark` behind unless Prefect knows how the run ended."""
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    try:
        yield
    except BusyError:  # the mark is the other run's
        raise
    except SafeReActError:
        mark.unlink(missing_ok=True)
        raise
    mark.unlink(missing_ok=True)


def _run_flow(profile: str, stores: list[Path], *, push: bool) -> Outcome:
    from flows.retrain import retrain
    from flows.runner.lost_runs import end_lost_runs, of_this_process

    try:
        with of_this_process():
            if ended := end_lost_runs():
                log.info("[%s] %s", "prefect", f"{ended} killed runs are set to Crashed")
            outcome: Any = retrain(profile, push)
    except SafeReActError:
        raise
    except Exception:
        _check_room(stores)  # a server whose disk is full says no more than "error 500"
        raise
    return outcome


def _check_room(stores: list[Path]) -> None:
    """Raise `InterruptionError` unless temporary files and the embedded stores have room."""
    check_temporary()
    check_writable(stores)


def _outcome_if_fresh(workspace: Workspace, *, push: bool) -> Outcome | None:
    """Return the outcome of a profile whose stages are all up to date; None where one is not, and
    where Prefect has to learn that an earlier run was killed."""
    decided = (workspace.stage("gate") / Decision.FILE).is_file()  # else DVC need not be asked
    if workspace.open_run.exists() or not decided:
        return None
    pushed = pushes(workspace, asked=push)
    with one_run(workspace.root, f"check {workspace.profile}"):
        bring_champion(workspace)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(load_mlflow)  # while DVC works
            stale = stale_stages(workspace)
        if stale:
            return None
        for stage in STAGES:
            log.info("[%s] %s", stage, "up to date")
        outcome = conclude(workspace)
        if pushed and outcome.registered:
            log.info("[%s] %s", "push", push_version(workspace, outcome.registered))
        return outcome


def read_seeds(text: str) -> list[int]:
    """Return the seeds of a list such as `0,1,2`; raises `ConfigError` for another text."""
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise ConfigError(f"--seeds {text!r} is not a list such as 0,1,2")
    return [int(seed) for seed in text.split(",")]


def run_seeds(
    workspace: Workspace,
    seeds: Sequence[int],
    stage: str = "gate",
    settings: Mapping[str, Any] | None = None,
) -> dict[int, str]:
    """Run the stages up to `stage` once a seed; return the experiments' names by seed.

    `settings` are set in the profile, by key. What a seed has been run for with the same code and
    settings comes from DVC's cache, and a killed stage is taken up where it stopped. Raises
    `ConfigError` where git does not track what an experiment changes, which DVC would put away with
    it and not bring back, and `StageError` with DVC's last lines where a run fails.
    """
    check_profile(workspace)
    own = (workspace.profile_file, workspace.parameters)
    changed = [path.relative_to(workspace.root).as_posix() for path in own]
    if unknown := untracked(workspace.root, changed):
        raise ConfigError(
            f"git does not track {' and '.join(unknown)}, which every seed's experiment changes; "
            f"`git add {' '.join(unknown)}` first"
        )
    with one_run(workspace.root, f"seeds {workspace.profile}"):
        declare_files(workspace.root)
        bring_champion(workspace)
        chosen = {seed: {**(settings or {}), "seed": seed} for seed in seeds}
        experiments: dict[int, str] = {}
        for seed, changes in chosen.items():
            name = f"{stage}-seed-{seed}"
            experiments[seed] = _experiment(workspace, name, stage, changed[0], changes)
            if stage == "gate":  # at once: a later seed may fail
                record_seed(workspace, seed, experiments[seed])
        return experiments


def record_seed(workspace: Workspace, seed: int, experiment: str) -> str:
    """Record what the gate decided for a seed as a look; return in words which look it is."""
    decision = load_from(workspace, "gate", Decision, experiment)
    evidence = load_from(workspace, "evaluate", Evidence, experiment)
    profile = load_profile(workspace.profile_file).model_copy(update={"seed": seed})
    return f"seed {seed}: {record_decision(workspace, profile, decision, evidence).words}"


def seed_runs(workspace: Workspace, stage: str, seed: int) -> Path:
    """Return where the stages of a seed's experiment leave their records and unfinished work."""
    return workspace.runs / f"{stage}-seed-{seed}"


def _experiment(
    workspace: Workspace, name: str, stage: str, profile: str, settings: Mapping[str, Any]
) -> str:
    runs, name = workspace.runs / name, f"{workspace.profile}-{name.removeprefix('gate-')}"
    if name in _dvc(workspace, "exp", "list", "--name-only").split():
        # A new run of old settings is restored from the cache, so nothing is lost.
        _dvc(workspace, "exp", "remove", name)
    # A clone of the repository lacks what git does not track.
    copied = untracked(workspace.root, inputs_of(workspace))
    options = [word for path in copied for word in ("--copy-paths", path)]
    for key, value in settings.items():
        options += ["--set-param", f"{profile}:++{key}={value}"]
    log.info("[seed %s] %s", settings["seed"], "starts")
    target = dvc_name(stage, workspace.profile)
    _dvc(workspace, "exp", "run", "--temp", "--name", name, *options, target, runs=runs)
    log.info("[seed %s] %s", settings["seed"], "done")
    return name


def inputs_of(workspace: Workspace) -> Iterator[str]:
    """Yield the files and folders that a profile's results depend on: what DVC watches, and what a
    digest pins."""
    profile = load_profile(workspace.profile_file)
    yield from (*DECIDING, str(workspace.champion), *(workspace.entry or {}).values())
    yield from named_files(profile, workspace.root)
    suites = used_suites(profile.prepare.suites, workspace.root / SUITES).values()
    yield from (suite.source.path for suite in suites if suite.source.path)
    for judge in profile.evaluate.judges.values():
        if isinstance(judge, GuardSettings) and (workspace.root / judge.model).is_dir():
            yield judge.model


def _dvc(workspace: Workspace, *arguments: str, runs: Path | None = None) -> str:
    """Return what DVC printed; raises `StageError` with its last lines where it fails."""
    done = call_dvc(workspace, *arguments, runs=runs)
    if done.returncode != 0:
        printed = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise StageError(f"dvc {' '.join(arguments)} failed:\n" + "\n".join(printed[-5:]))
    return done.stdout
