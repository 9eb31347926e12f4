"""The same profile under several seeds, as DVC experiments, and their figures as one table.

One seed shows that something can happen; several show whether it does. Each seed is an experiment
of DVC's own in a folder of its own, so the working tree stays as it is and the cache is shared.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence

from components.core import paths as names
from components.core.errors import ConfigError, StageError
from components.core.paths import Workspace
from components.core.run_record import untracked
from components.core.vocabulary import Arm
from components.evaluate.result import Evidence
from components.gate.result import Decision
from components.judges.settings import GuardSettings
from components.prepare.result import SuiteSet, leak_footnotes, leak_notes
from components.prepare.suites import used_suites
from components.profile import load_profile
from flows.cli.tables import metric_cell
from flows.runner.champion import bring_champion
from flows.runner.dvc import ask_dvc, check_profile
from flows.runner.lock import one_run

log = logging.getLogger(__name__)

COLUMNS = {
    "harmful.refused": "refuses harmful",
    "borderline.refused": "refuses borderline",
    "benign.refused": "refuses benign",
    "reasoning.correct": "reasoning correct",
}


def run_seeds(workspace: Workspace, seeds: Sequence[int]) -> list[str]:
    """Run the stages up to the gate once a seed; return the experiments' names.

    What a seed has been run for with the same code and settings comes from DVC's cache. Raises
    `ConfigError` where git does not track the profile, and `StageError` with DVC's last words where
    a run fails.
    """
    check_profile(workspace)
    _refuse_untracked(workspace)
    with one_run(workspace.root, f"seeds {workspace.profile}"):
        bring_champion(workspace)
        return [_experiment(workspace, seed) for seed in seeds]


def seeds_table(workspace: Workspace, experiments: Sequence[str]) -> str:
    """Return a Markdown table of every seed's arms: rate, interval and n of the four figures."""
    lines = [
        "| seed | model | " + " | ".join(COLUMNS.values()) + " | gate |",
        "|---" * (len(COLUMNS) + 3) + "|",
    ]
    told: list[str] = []
    for name in experiments:
        evidence = Evidence.model_validate(_read(workspace, "evaluate", names.METRICS, name))
        decision = Decision.model_validate(_read(workspace, "gate", names.DECISION, name))
        prompts = SuiteSet.model_validate(_read(workspace, "prepare", names.SUITE_MANIFEST, name))
        marked = leak_notes(prompts.leaks)
        seed = name.rpartition("-")[2]
        told += [f"\nseed {seed}: {note}" for note in leak_footnotes(marked, COLUMNS)]
        for arm in evidence.arms:
            rates = evidence.rates.get(arm, {})
            cells = [metric_cell(rates, metric, marked) for metric in COLUMNS]
            word = decision.outcome if arm is Arm.RESTORED else ""
            lines.append(f"| {seed} | {arm} | " + " | ".join(cells) + f" | {word} |")
    return "\n".join([*lines, *told])


def _refuse_untracked(workspace: Workspace) -> None:
    """Raise `ConfigError` where git does not track the files that an experiment changes: DVC would
    put them away with the experiment, and not bring them back."""
    own = (workspace.profile_file, workspace.parameters)
    paths = [path.relative_to(workspace.root).as_posix() for path in own]
    if unknown := [path for path in paths if untracked(workspace.root, [path])]:
        raise ConfigError(
            f"git does not track {' and '.join(unknown)}, which every seed's experiment changes; "
            f"`git add {' '.join(unknown)}` first"
        )


def _experiment(workspace: Workspace, seed: int) -> str:
    name = f"{workspace.profile}-seed-{seed}"
    profile = workspace.profile_file.relative_to(workspace.root).as_posix()
    if name in _dvc(workspace, "exp", "list", "--name-only").split():
        # A new run of old settings is restored from the cache, so nothing is lost.
        _dvc(workspace, "exp", "remove", name)
    change = ["--set-param", f"{profile}:++seed={seed}"]
    # A clone of the repository lacks what git does not track.
    for path in untracked(workspace.root, _inputs(workspace)):
        change += ["--copy-paths", path]
    target = f"gate@{workspace.profile}"
    log.info("[seed %s] %s", seed, "starts")
    _dvc(workspace, "exp", "run", "--temp", "--name", name, *change, target)
    log.info("[seed %s] %s", seed, "done")
    return name


def _inputs(workspace: Workspace) -> Iterator[str]:
    """Yield the files and folders that the profile's results depend on, the profile aside."""
    profile = load_profile(workspace.profile_file)
    yield from (workspace.entry or {}).values()
    yield from (
        "components",
        "profiles/bases",
        names.SUITES,
        names.CALIBRATION,
        names.POLICIES,
        names.OVERRIDES,
    )
    yield str(workspace.champion)
    suites = used_suites(profile.prepare.suites, workspace.root / names.SUITES).values()
    paths = [
        *(source.path for source in profile.prepare.sources),
        *(suite.source.path for suite in suites),
    ]
    yield from (path for path in paths if path)
    for judge in profile.evaluate.judges.values():
        if isinstance(judge, GuardSettings) and (workspace.root / judge.model).is_dir():
            yield judge.model


def _dvc(workspace: Workspace, *words: str) -> str:
    """Return what DVC printed; raises `StageError` with its last words where it fails."""
    done = ask_dvc(workspace, *words)
    if done.returncode != 0:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise StageError(f"dvc {' '.join(words)} failed:\n" + "\n".join(said[-5:]))
    return done.stdout


def _read(workspace: Workspace, stage: str, file: str, experiment: str) -> object:
    import dvc.api

    path = workspace.stage(stage).relative_to(workspace.root) / file
    return json.loads(dvc.api.read(path.as_posix(), repo=str(workspace.root), rev=experiment))
