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
from components.core.errors import ConfigError, TrainingError
from components.core.paths import PARETO, STUDY, Workspace
from components.core.storage import OWNER
from components.core.untrusted_text import Formatter
from components.profile import load_profile
from components.registry.mlflow_registry import Registry
from components.registry.search_runs import StudyRun, TrialRun, open_study
from components.studies.tune.objectives import compliance, reasoning
from components.studies.tune.places import Place, Tried, measure_references, open_place, run_trial
from components.studies.tune.search import Study, draw_pareto
from components.studies.tune.trials import Bench, Search, open_bench, open_runner
from flows.cli.profiles import check_name, read_commented, write_yaml
from flows.cli.terminal import handled
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
    run.add(_runs(study))
    if len(study.trials) < trials or not study.references:
        with _emptied(folder / ".trial") as scratch, open_place(bench) as place:
            if not study.references:
                _log("measuring the base and the post-trained model")
                study.store_references(measure_references(bench, place))
            _take_trials(study, place, scratch, run, trials=trials, minutes=minutes)
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


def _take_trials(
    study: Study, place: Place, scratch: Path, run: StudyRun, *, trials: int, minutes: float
) -> None:
    """Take trials, as many at once as `place` does, until there are enough or the time is up."""
    begin, done = time.monotonic(), 0
    while len(study.trials) < trials:
        taken = time.monotonic() - begin
        if done and taken + taken / done > 60 * minutes:
            _log(f"no time for another trial in {minutes:g} minutes; the same command goes on")
            break
        proposals = study.propose(place.at_once)[: trials - len(study.trials)]
        for proposal in proposals:
            setting = proposal.setting
            layers = " ".join(str(layer) for layer in setting.target_layers)
            _log(
                f"trial {proposal.number}, {proposal.number + 1} of {trials}: {setting.teacher}, "
                f"layers {layers}, "
                f"{', '.join(f'{name} {value:g}' for name, value in setting.own.items())}"
            )
        found = place.map(partial(run_trial, scratch), [one.setting for one in proposals])
        for proposal, tried in zip(proposals, found, strict=True):
            study.add(proposal, tried)
            _log(f"trial {proposal.number}{_outcome(tried)}")
            run.add(_runs(study))
        done += 1


def _outcome(tried: Tried) -> str:
    if tried.failure is not None:
        return f" failed: {tried.failure}"
    return (
        f": complies with {compliance(tried.rates).rate:.1%} of harmful prompts, "
        f"{reasoning(tried.rates).rate:.1%} of reasoning correct, {tried.end - tried.begin:.0f} s"
    )


@contextmanager
def _emptied(scratch: Path) -> Iterator[Path]:
    """Yield the folder without what a killed search had left there; it is gone afterwards."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


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
    logging.captureWarnings(True)
    try:
        with handled("components", handler), handled("py.warnings", handler):
            yield
    finally:
        logging.captureWarnings(False)
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
