"""The search for a better setting: trials of a study, their picture, and the best as a profile."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.chain import STAGES
from components.core.errors import SafeReActError, TrainingError
from components.core.paths import PARETO, STUDY, Workspace
from components.core.storage import OWNER
from components.core.untrusted_text import Formatter
from components.core.vocabulary import Arm
from components.profile import load_profile
from components.registry.mlflow_registry import Registry
from components.registry.search_runs import StudyRun, TrialRun, open_study
from components.studies.tune.objectives import best_of, compliance, reasoning
from components.studies.tune.pareto import draw_pareto
from components.studies.tune.search import Study
from components.studies.tune.trials import Bench, Search, open_bench, open_examiner
from flows.cli.tuned import tuned_workspace, write_tuned
from flows.runner.dvc import bring_up_to_date, check_profile
from flows.runner.lock import one_run

log = logging.getLogger(__name__)

NEEDED = STAGES[: STAGES.index("probe") + 1]


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a search found; `profile` is None where no setting is good enough to be written."""

    search: Search
    profile: str | None


def tune(workspace: Workspace, *, trials: int, minutes: float, to: str | None) -> Tuned:
    """Search until the study has `trials` trials, and write the best setting as the profile `to`.

    No trial begins that would take this call's trials beyond `minutes`, going by those before it;
    the first one begins in any case. A search that was killed is taken up where it stopped. Raises
    what a stage, the registry or the validation prompts have against it, `TrainingError` where
    every trial failed, and `BusyError` where another run works in this repository.
    """
    target = tuned_workspace(workspace, to)
    check_profile(workspace, NEEDED)
    profile = load_profile(workspace.profile_file)
    registry = Registry(workspace.root)
    experiment = registry.experiment(profile.registration.experiment)
    with one_run(workspace.root, f"tune {workspace.profile}"), _details(workspace.log("tune")):
        bring_up_to_date(workspace, NEEDED[:1])
        open_examiner(profile, workspace)  # what is wrong with them is told before the long stages
        bring_up_to_date(workspace, NEEDED[1:])
        bench = open_bench(profile, workspace)
        run = open_study(registry, experiment, workspace.profile, bench.key)
        search = search_settings(bench, workspace.search, run, trials=trials, minutes=minutes)
        if search.best is None:
            return Tuned(search, None)
        write_tuned(workspace, target, search)
    return Tuned(search, target.profile)


def search_settings(
    bench: Bench, folder: Path, run: StudyRun, *, trials: int, minutes: float
) -> Search:
    """Take the trials that the study in `folder` lacks, and write its list and its picture there.

    Every trial gets its child of `run` in MLflow. Raises `TrainingError` where all have failed.
    """
    space, seed = bench.space, bench.profile.seed
    study = Study(folder / STUDY, bench.key, space, allowed=bench.allowed, seed=seed)
    if not study.references:
        _tell("measuring the base and the post-trained model")
        study.keep_references(bench.references())
    run.add(_runs(study))
    begin, done = time.monotonic(), 0
    while len(study.trials) < trials:
        taken = time.monotonic() - begin
        if done and taken + taken / done > 60 * minutes:
            _tell(f"no time for another trial in {minutes:g} minutes; the same command goes on")
            break
        _take_trial(bench, study, folder / ".trial", trials)
        run.add(_runs(study))
        done += 1
    search = _conclude(bench, study).save(folder)
    draw_pareto(search, folder / PARETO)
    run.close(
        {} if search.best is None else search.trials[search.best].rates,
        files=[folder / Search.FILE, folder / PARETO],
        tags={"best_trial": str(search.best), "trials": str(len(search.trials))},
    )
    if all(trial.failure for trial in search.trials):
        raise TrainingError(
            f"all {len(search.trials)} trials failed; the first: {search.trials[0].failure}"
        )
    return search


def _take_trial(bench: Bench, study: Study, folder: Path, trials: int) -> None:
    """Run one trial in `folder`; a failure that a user can mend is kept with its reason."""
    start, asked = time.monotonic(), study.ask()
    setting, name = asked.setting, f"trial {asked.number}"
    layers = " ".join(str(layer) for layer in setting.target_layers)
    _tell(
        f"{name}, {asked.number + 1} of {trials}: {setting.teacher}, layers {layers}, "
        f"lr {setting.lr:g}, {setting.steps} steps, schedule {setting.schedule:g}"
    )
    try:
        with _emptied(folder) as scratch:
            rates = bench.run(setting, scratch)
    except SafeReActError as error:
        study.tell_failure(asked, str(error))
        _tell(f"{name} failed: {error}")
        return
    study.tell(asked, rates)
    _tell(
        f"{name}: complies with {compliance(rates).rate:.1%} of harmful prompts, "
        f"{reasoning(rates).rate:.1%} of reasoning correct, {time.monotonic() - start:.0f} s"
    )


def _conclude(bench: Bench, study: Study) -> Search:
    """Return the trials so far, with the front and the best of them."""
    trials, references = study.trials, study.references
    best = best_of(
        trials,
        references[Arm.POST_TRAINED],
        allowed=bench.allowed,
        max_reasoning_loss=bench.profile.tune.max_reasoning_loss,
    )
    return Search(
        profile=bench.profile.name,
        key=bench.key,
        data=bench.prompts.digest_of_prompts,
        prompts=bench.examiner.exam.digest,
        allowed=bench.allowed,
        references=references,
        trials=trials,
        front=study.front,
        best=best.number if best else None,
    )


def _runs(study: Study) -> list[TrialRun]:
    """Return the trials as MLflow gets them."""
    runs = []
    for trial in study.trials:
        setting = trial.setting
        begin, end = study.times(trial.number)
        parameters = {
            "teacher": setting.teacher,
            "target_layers": ",".join(str(layer) for layer in setting.target_layers),
            "lr": f"{setting.lr:g}",
            "steps": str(setting.steps),
            "schedule": f"{setting.schedule:g}",
            "retain_share": f"{setting.retain_share:.3f}",
            "shipped": str(trial.shipped).lower(),
        }
        runs.append(TrialRun(trial.number, begin, end, parameters, trial.rates, trial.failure))
    return runs


def _tell(text: str) -> None:
    log.info("[%s] %s", "tune", text)


@contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that is gone afterwards, whatever a killed trial had left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _details(path: Path) -> Iterator[None]:
    """Send what the rooms log, and the libraries' warnings, to a file instead of the screen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(OWNER)
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(Formatter("%(message)s"))
    loggers = [logging.getLogger(name) for name in ("components", "py.warnings")]
    logging.captureWarnings(True)
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()
