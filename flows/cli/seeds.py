"""The same profile under several seeds: each an experiment of DVC's in a copy of the repository.

One seed shows that something can happen; several show whether it does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TypeVar

from components.core.errors import ConfigError, StageError
from components.core.paths import DECIDING, SUITES, Workspace
from components.core.result import Result
from components.core.run_record import untracked
from components.core.vocabulary import Arm
from components.evaluate.result import Evidence
from components.gate.result import Decision
from components.judges.settings import GuardSettings
from components.prepare.result import SuiteSet, leak_footnotes, leak_notes
from components.prepare.suites import used_suites
from components.profile import load_profile
from flows.cli.study_tables import METRICS
from flows.cli.tables import markdown_table, metric_cell
from flows.runner.dvc import call_dvc
from flows.runner.lock import one_run
from flows.runner.profiles import check_profile
from flows.runner.registry import bring_champion

log = logging.getLogger(__name__)

COLUMNS = {
    metric: METRICS[metric]
    for metric in ("harmful.refused", "borderline.refused", "benign.refused", "reasoning.correct")
}
R = TypeVar("R", bound=Result)


def run_seeds(workspace: Workspace, seeds: Sequence[int]) -> list[str]:
    """Run the stages up to the gate once a seed; return the experiments' names.

    What a seed has been run for with the same code and settings comes from DVC's cache. Raises
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
        bring_champion(workspace)
        return [_experiment(workspace, seed, changed[0]) for seed in seeds]


def _experiment(workspace: Workspace, seed: int, profile: str) -> str:
    name = f"{workspace.profile}-seed-{seed}"
    if name in _dvc(workspace, "exp", "list", "--name-only").split():
        # A new run of old settings is restored from the cache, so nothing is lost.
        _dvc(workspace, "exp", "remove", name)
    # A clone of the repository lacks what git does not track.
    copied = untracked(workspace.root, inputs_of(workspace))
    options = [word for path in copied for word in ("--copy-paths", path)]
    options += ["--set-param", f"{profile}:++seed={seed}"]
    log.info("[seed %s] %s", seed, "starts")
    _dvc(workspace, "exp", "run", "--temp", "--name", name, *options, f"gate@{workspace.profile}")
    log.info("[seed %s] %s", seed, "done")
    return name


def inputs_of(workspace: Workspace) -> Iterator[str]:
    """Yield the files and folders that a profile's results depend on: what DVC watches, and what a
    digest pins."""
    profile = load_profile(workspace.profile_file)
    yield from (*DECIDING, str(workspace.champion), *(workspace.entry or {}).values())
    suites = used_suites(profile.prepare.suites, workspace.root / SUITES).values()
    yield from (suite.source.path for suite in suites if suite.source.path)
    for judge in profile.evaluate.judges.values():
        if isinstance(judge, GuardSettings) and (workspace.root / judge.model).is_dir():
            yield judge.model


def seeds_table(workspace: Workspace, experiments: Sequence[str]) -> str:
    """Return a Markdown table of every seed's arms: rate, interval and n of the four figures."""
    rows, notes = [], []
    for name in experiments:
        evidence = _read(workspace, "evaluate", Evidence, name)
        outcome = _read(workspace, "gate", Decision, name).outcome
        marked = leak_notes(_read(workspace, "prepare", SuiteSet, name).leaks)
        seed = name.rpartition("-")[2]
        notes += [f"seed {seed}: {note}" for note in leak_footnotes(marked, COLUMNS)]
        for arm in evidence.arms:
            rates = evidence.rates.get(arm, {})
            cells = [metric_cell(rates, metric, marked) for metric in COLUMNS]
            rows.append([seed, arm, *cells, outcome if arm is Arm.RESTORED else ""])
    return markdown_table(["seed", "model", *COLUMNS.values(), "gate"], rows, notes)


def _read(workspace: Workspace, stage: str, kind: type[R], experiment: str) -> R:
    import dvc.api

    path = (workspace.stage(stage) / kind.FILE).relative_to(workspace.root).as_posix()
    return kind.model_validate_json(dvc.api.read(path, repo=str(workspace.root), rev=experiment))


def _dvc(workspace: Workspace, *arguments: str) -> str:
    """Return what DVC printed; raises `StageError` with its last lines where it fails."""
    done = call_dvc(workspace, *arguments)
    if done.returncode != 0:
        printed = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise StageError(f"dvc {' '.join(arguments)} failed:\n" + "\n".join(printed[-5:]))
    return done.stdout
