"""`safereact compare` under several seeds, with a search for each method's setting before it."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from components.core.errors import TrainingError
from components.core.paths import ROWS, Workspace
from components.core.result import RateFigure
from components.core.storage import digest_bytes, write_json
from components.core.untrusted_text import for_terminal
from components.core.vocabulary import OWN_ARMS, AnyArm, Arm
from components.evaluate.rows import Row, read_outcomes
from components.profile import Profile, load_profile
from components.report.studies import StudyTable
from components.studies.baselines.settings import OWN_SECTIONS, split_name
from components.studies.compare.pooling import pool
from flows.cli.compare_tables import (
    Found,
    mean_costs,
    measured_parts,
    read_from,
    seeds_tables,
    write_comparison,
)
from flows.cli.records import read_record
from flows.cli.runs import run_seeds, seed_runs
from flows.runner.dvc import bring_up_to_date
from flows.runner.lock import one_run
from flows.runner.profiles import check_profile

if TYPE_CHECKING:
    from components.studies.tune.trials import Bench

log = logging.getLogger(__name__)

STAGE = "compare"
_CHAIN = ("prepare", "models", "probe", "train", "evaluate")


def methods_of(profile: Profile) -> list[str]:
    """Return the training methods of a profile's arms, each once."""
    return list(dict.fromkeys(split_name(arm)[0] for arm in profile.baselines.methods))


def forecast(workspace: Workspace, seeds: Sequence[int], trials: int) -> str:
    """Return in words how many trainings a comparison takes at most and, going by what the last
    runs took here, how many minutes."""
    profile = load_profile(workspace.profile_file)
    arms, methods = profile.baselines.methods, methods_of(profile)
    searched = trials * len(methods)
    count = searched + len(seeds) * (len(arms) + 2)
    text = f"{count} trainings at most: {len(seeds)} seeds of {len(arms) + 2}"
    if trials:
        text += f", {trials} trials of each of {len(methods)} methods before"
    parts, stages = measured_parts(workspace.runs), _seconds(workspace)
    if Arm.RESTORED not in parts or "evaluate" not in stages:
        return (
            f"{text}; how long they take is not known: no run of this profile was measured here "
            f"(safereact run --profile {workspace.profile})"
        )
    usual, asking = parts[Arm.RESTORED]["seconds"], stages["evaluate"] / len(OWN_ARMS)

    def taken(names: Iterable[str]) -> float:
        known = {name: cost["seconds"] for name, cost in parts.items()}
        return sum(known.get(name, usual) + asking for name in names)

    section = profile.compare
    untrained = len(section.prompted) + sum(len(amounts) for amounts in section.edits.values())
    seconds = trials * taken(methods)
    seconds += len(seeds) * (sum(stages.values()) + untrained * asking + taken(arms))
    return f"{text}; about {math.ceil(seconds / 60)} minutes, going by the last runs here"


def _seconds(workspace: Workspace) -> dict[str, float]:
    """Return what each stage of the chain took where it last ran here."""
    records = {stage: read_record(workspace.run_record(stage)) for stage in _CHAIN}
    return {stage: record["seconds"] for stage, record in records.items() if record}


def compare_seeds(workspace: Workspace, seeds: Sequence[int], trials: int) -> list[StudyTable]:
    """Return the tables of a comparison under several seeds, which are also written.

    With `trials`, each method's setting is searched before, on the profile's own seed, with as many
    trials a method. All of it goes on where a killed run of the same stopped. Raises what the
    search and `run_seeds` raise.
    """
    searched = search_methods(workspace, trials) if trials else Searched({}, {})
    settings = searched.settings
    experiments = run_seeds(workspace, seeds, STAGE, settings)
    found = {
        seed: Found.of(workspace, name, seed_runs(workspace, STAGE, seed))
        for seed, name in experiments.items()
    }
    rows = [load_outcomes(workspace, name) for name in experiments.values()]
    pooled = pool([each.comparison for each in found.values()], rows)
    tables = seeds_tables(found, pooled)
    if trials:
        last = tables[-1]
        tables[-1] = last._replace(notes=[*last.notes, searched.words(trials)])
    document = {
        "seeds": {
            str(seed): each.comparison.model_dump(mode="json") for seed, each in found.items()
        },
        "pooled": {str(arm): _plain(rates) for arm, rates in pooled.comparison.rates.items()},
        "differences": [each.model_dump(mode="json") for each in pooled.comparison.differences],
        "costs": {arm: cost._asdict() for arm, cost in mean_costs([*found.values()]).items()},
        "trials": trials,
        "settings": settings,
        "kept": searched.kept,
    }
    write_json(workspace.comparison / "comparison.json", document)
    write_comparison(workspace.comparison, tables)
    return tables


def load_outcomes(workspace: Workspace, experiment: str) -> dict[AnyArm, list[Row]]:
    """Return what every arm of a comparison did in an experiment, by arm."""
    files = (read_from(workspace, stage, ROWS, experiment) for stage in ("evaluate", STAGE))
    return {arm: rows for file in files for arm, rows in read_outcomes(BytesIO(file)).items()}


def _plain(rates: Mapping[str, RateFigure]) -> dict[str, Any]:
    return {metric: figure.model_dump(mode="json") for metric, figure in rates.items()}


# --- a setting for each method -------------------------------------------------------------------


class Searched(NamedTuple):
    """What a search found for each method."""

    settings: dict[str, Any]  # the best settings, as keys of the profile
    kept: dict[str, str]  # methods that keep their own, and why

    def words(self, trials: int) -> str:
        """Return it in a paragraph below the tables."""
        found = self.settings.items()
        given = ", ".join(f"{key.removeprefix('baselines.')} {value}" for key, value in found)
        kept = "; ".join(f"{method}: {for_terminal(why)}" for method, why in self.kept.items())
        text = f"Settings found by {trials} validation trials a method: {given or 'none'}."
        return f"{text} Methods that keep their own: {kept}." if kept else text


def search_methods(workspace: Workspace, trials: int) -> Searched:
    """Return what was found for each method after so many trials each.

    A method of which no trial is good enough, or none can be trained, keeps its own setting.
    """
    from components.registry.mlflow_registry import Registry
    from components.registry.search_runs import open_study
    from components.studies.baselines.stage import own_settings
    from components.studies.tune.trials import open_bench
    from components.train.methods import METHODS
    from flows.cli.tune import NEEDED, search_settings

    check_profile(workspace, NEEDED)
    profile, registry = load_profile(workspace.profile_file), Registry(workspace.root)
    experiment = registry.experiment(profile.registration.experiment)
    found, kept = dict[str, Any](), dict[str, str]()
    with one_run(workspace.root, f"compare {workspace.profile}"):
        bring_up_to_date(workspace, NEEDED)
        first: Bench | None = None
        for method in methods_of(profile):
            own = own_settings(method, profile.baselines, profile.train)
            train = profile.train.model_copy(update={"method": method})
            bench = open_bench(profile.model_copy(update={"train": train}), workspace, own)
            bench = first = _alike(bench, first, profile, method)
            log.info("[%s] %s", "compare", f"{method}: {trials} trials")
            run = open_study(registry, experiment, f"{profile.name} {method}", bench.key)
            try:
                search = search_settings(
                    bench, workspace.search / method, run, trials=trials, minutes=math.inf
                )
            except TrainingError as error:
                kept[method] = str(error)
                log.info("[%s] %s", "compare", f"{method}: {error}")
                continue
            if search.best is None:
                kept[method] = "no trial is good enough"
                log.info("[%s] %s", "compare", f"{method}: {kept[method]}")
                continue
            setting = search.trials[search.best].setting
            prefix = f"baselines.{OWN_SECTIONS.get(method, f'settings.{method}')}"
            found |= {f"{prefix}.{name}": value for name, value in setting.own.items()}
            if METHODS.find(method).by_states:
                found[f"{prefix}.target_layers"] = list(setting.target_layers)
    return Searched(found, kept)


def _alike(bench: Bench, first: Bench | None, profile: Profile, method: str) -> Bench:
    """Return the bench of a method with the probe's teacher alone, and with the figures of the two
    models that the first bench has measured."""
    tune = bench.profile.tune.model_copy(update={"teachers": (bench.probe.teacher,)})
    changed = replace(bench, profile=bench.profile.model_copy(update={"tune": tune}))
    if first is not None:
        changed = replace(changed, measured=first.measured)
    given = profile.baselines.settings.get(method)
    if given is None or given.target_layers is None:
        return changed
    layers = given.target_layers
    probe = bench.probe.model_copy(update={"target_layers": layers})
    return replace(changed, probe=probe, key=digest_bytes(f"{bench.key} {layers}".encode()))
