"""The search for a better setting: trials of a study, their picture, and the best as a profile."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from components.chain import STAGES
from components.core.errors import ConfigError, SafeReActError, TrainingError
from components.core.paths import PARETO, STUDY, Workspace
from components.core.storage import OWNER
from components.core.untrusted_text import Formatter
from components.profile import load_profile
from components.registry.mlflow_registry import Registry
from components.registry.search_runs import StudyRun, TrialRun, open_study
from components.studies.tune.objectives import compliance, reasoning
from components.studies.tune.search import Study, draw_pareto
from components.studies.tune.trials import Bench, Search, open_bench, open_runner
from flows.cli.profiles import check_name, read_commented, write_yaml
from flows.runner.dvc import bring_up_to_date
from flows.runner.lock import one_run
from flows.runner.profiles import check_profile

_log = partial(logging.getLogger(__name__).info, "[%s] %s", "tune")

NEEDED = STAGES[: STAGES.index("probe") + 1]


def find_setting(
    workspace: Workspace, *, trials: int, minutes: float, to: str | None
) -> tuple[Search, str | None]:
    """Search until the study has `trials` trials, and write the best setting as the profile `to`.

    Returns the search and the profile's name, None where no setting is good enough. No trial begins
    that would take this call's trials beyond `minutes`, going by those before it; the first one
    begins in any case. A search that was killed is taken up where it stopped. Raises what a stage,
    the registry or the validation prompts have against it, `TrainingError` where every trial
    failed, and `BusyError` where another run works in this repository.
    """
    target = tuned_workspace(workspace, to)
    check_profile(workspace, NEEDED)
    profile = load_profile(workspace.profile_file)
    registry = Registry(workspace.root)
    experiment = registry.experiment(profile.registration.experiment)
    with one_run(workspace.root, f"tune {workspace.profile}"), _details(workspace.log("tune")):
        bring_up_to_date(workspace, NEEDED[:1])
        open_runner(profile, workspace)  # what is wrong with them is said before the long stages
        bring_up_to_date(workspace, NEEDED[1:])
        bench = open_bench(profile, workspace)
        run = open_study(registry, experiment, workspace.profile, bench.key)
        search = search_settings(bench, workspace.search, run, trials=trials, minutes=minutes)
        if search.best is None:
            return search, None
        write_tuned(workspace, target, search)
    return search, target.profile


def search_settings(
    bench: Bench, folder: Path, run: StudyRun, *, trials: int, minutes: float
) -> Search:
    """Take the trials that the study in `folder` lacks, and write its list and its picture there.

    Every trial gets its child of `run` in MLflow. Raises `TrainingError` where all have failed.
    """
    space, seed = bench.space, bench.profile.seed
    study = Study(folder / STUDY, bench.key, space, allowed=bench.allowed, seed=seed)
    if not study.references:
        _log("measuring the base and the post-trained model")
        study.store_references(bench.references())
    run.add(_runs(study))
    begin, done = time.monotonic(), 0
    while len(study.trials) < trials:
        taken = time.monotonic() - begin
        if done and taken + taken / done > 60 * minutes:
            _log(f"no time for another trial in {minutes:g} minutes; the same command goes on")
            break
        _take_trial(bench, study, folder / ".trial", trials)
        run.add(_runs(study))
        done += 1
    search = study.conclude(bench).save(folder)
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


def _take_trial(bench: Bench, study: Study, scratch: Path, trials: int) -> None:
    """Run one trial in the folder `scratch`, which is gone afterwards; a failure that a user can
    mend is stored with its reason."""
    start, proposal = time.monotonic(), study.propose()
    setting, name = proposal.setting, f"trial {proposal.number}"
    layers = " ".join(str(layer) for layer in setting.target_layers)
    _log(
        f"{name}, {proposal.number + 1} of {trials}: {setting.teacher}, layers {layers}, "
        f"{', '.join(f'{name} {value:g}' for name, value in setting.own.items())}"
    )
    shutil.rmtree(scratch, ignore_errors=True)  # what a killed trial had left
    scratch.mkdir(parents=True)
    try:
        rates = bench.run(setting, scratch)
    except SafeReActError as error:
        study.add_failure(proposal, str(error))
        _log(f"{name} failed: {error}")
        return
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    study.add(proposal, rates)
    _log(
        f"{name}: complies with {compliance(rates).rate:.1%} of harmful prompts, "
        f"{reasoning(rates).rate:.1%} of reasoning correct, {time.monotonic() - start:.0f} s"
    )


def _runs(study: Study) -> list[TrialRun]:
    """Return the trials as MLflow gets them."""
    runs = []
    for trial in study.trials:
        setting = trial.setting
        parameters = {
            "teacher": setting.teacher,
            "target_layers": ",".join(str(layer) for layer in setting.target_layers),
            **{name: f"{value:g}" for name, value in setting.own.items()},
            "shipped": str(trial.shipped).lower(),
        }
        times = study.times(trial.number)
        runs.append(TrialRun(trial.number, *times, parameters, trial.rates, trial.failure))
    return runs


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


# --- the best setting as a profile of its own -------------------------------------------------


def tuned_workspace(workspace: Workspace, name: str | None) -> Workspace:
    """Return where the best setting goes: the profile `name`, else `<profile>-tuned`.

    Raises `ConfigError` for a name that is not allowed or taken by something other than an earlier
    search of this profile.
    """
    target = Workspace(workspace.root, name or f"{workspace.profile}-tuned")
    check_name(target.profile, "--to")
    path = target.profile_file
    if path.exists() and not load_profile(path).description.startswith(_origin(workspace)):
        raise ConfigError(
            f"{path} exists and is not of an earlier search of {workspace.profile!r}; name another "
            "profile by --to"
        )
    return target


def write_tuned(workspace: Workspace, target: Workspace, search: Search) -> None:
    """Write the profile of `workspace`, comments and all, into `target` with the best setting.

    The search must have found one.
    """
    from ruamel.yaml.comments import CommentedSeq

    assert search.best is not None, "a search without a best setting has nothing to write"
    best = search.trials[search.best]
    document = read_commented(workspace.profile_file)
    origin = f"{_origin(workspace)}: trial {best.number} of {len(search.trials)} of the study "
    text = f"{origin}{search.key[:12]}. {document.pop('description', '')}".strip()
    document.insert(0, "description", text)
    for section, settings in best.setting.changes().items():
        document[section] = document.get(section) or {}
        for key, value in settings.items():
            document[section][key] = value
            if isinstance(value, list):
                document[section][key] = CommentedSeq(value)
                document[section][key].fa.set_flow_style()  # on one line
    write_yaml(target.profile_file, document)
    load_profile(target.profile_file)


def next_steps(workspace: Workspace, name: str) -> str:
    """Return what was written, and the commands that list and run the profile `name`."""
    checkpoints = (workspace.entry or {})["checkpoints"]
    return (
        f"written: profiles/{name}.yaml; now:\n"
        f"  safereact add {name} --checkpoints {checkpoints}\n"
        f"  safereact run --profile {name}"
    )


def _origin(workspace: Workspace) -> str:
    return f"Found by `safereact tune --profile {workspace.profile}`"
