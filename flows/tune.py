"""The search for a better setting: trials of a study, their picture, and the best as a profile."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.config import load_profile
from components.errors import SafeReActError, TrainingError
from components.objectives import best_of, compliance, reasoning
from components.records import Arm
from components.release.registry import Registry
from components.release.studies import StudyRun, TrialRun, open_study
from components.trials import Bench, Search, Trial, open_bench
from components.workspace import PARETO, STAGES, STUDY, Workspace
from flows.lock import one_run
from flows.pareto import draw_pareto
from flows.pipeline import bring_up_to_date, check_profile
from flows.study import Study
from flows.tuned import tuned_workspace, write_tuned

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
        bring_up_to_date(workspace, NEEDED)
        bench = open_bench(profile, workspace)
        study = Study(
            workspace.search / STUDY,
            bench.key,
            bench.space,
            allowed=bench.allowed,
            seed=profile.seed,
        )
        run = open_study(registry, experiment, workspace.profile, bench.key)
        _take_trials(workspace, bench, study, run, trials=trials, minutes=minutes)
        search, best = _conclude(workspace, bench, study)
        if best is not None:
            write_tuned(workspace, target, search, best)
        run.close(
            best.rates if best else {},
            files=[search.folder / Search.FILE, search.folder / PARETO],
            tags={"best_trial": str(search.best), "trials": str(len(search.trials))},
        )
    return Tuned(search, target.profile if best else None)


def _take_trials(
    workspace: Workspace,
    bench: Bench,
    study: Study,
    run: StudyRun,
    *,
    trials: int,
    minutes: float,
) -> None:
    """Take the trials that the study lacks, as far as the time goes, each with its child run."""
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
        _take_trial(workspace, bench, study, trials)
        run.add(_runs(study))
        done += 1


def _take_trial(workspace: Workspace, bench: Bench, study: Study, trials: int) -> None:
    """Run one trial; a failure that a user can mend is kept with its reason."""
    start, asked = time.monotonic(), study.ask()
    setting, name = asked.setting, f"trial {asked.number}"
    layers = " ".join(str(layer) for layer in setting.target_layers)
    _tell(
        f"{name}, {asked.number + 1} of {trials}: {setting.teacher}, layers {layers}, "
        f"lr {setting.lr:g}, {setting.steps} steps, schedule {setting.schedule:g}"
    )
    try:
        with _emptied(workspace.search / ".trial") as scratch:
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


def _conclude(workspace: Workspace, bench: Bench, study: Study) -> tuple[Search, Trial | None]:
    """Write the list of trials and its picture; return the trials and the best of them."""
    trials, references = study.trials, study.references
    if all(trial.failure for trial in trials):
        raise TrainingError(
            f"all {len(trials)} trials failed; the first: {trials[0].failure}. Their output is in "
            f"{workspace.log('tune')}"
        )
    best = best_of(
        trials,
        references[Arm.POST_TRAINED],
        allowed=bench.allowed,
        max_reasoning_loss=bench.profile.tune.max_reasoning_loss,
    )
    search = Search(
        profile=workspace.profile,
        key=bench.key,
        data=bench.prompts.digest_of_prompts,
        prompts=bench.questions.digest,
        allowed=bench.allowed,
        references=references,
        trials=trials,
        front=study.front,
        best=best.number if best else None,
    ).save(workspace.search)
    draw_pareto(search, workspace.search / PARETO)
    return search, best


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
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
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
