"""`safereact tune`: what it writes, shows and refuses, and a whole search that is killed."""

from __future__ import annotations

import io
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from components.core.errors import ConfigError, TrainingError
from components.core.paths import LISTED, STUDY, Workspace, read_lists
from components.core.vocabulary import Arm
from components.profile import load_profile
from components.registry.mlflow_registry import Registry
from components.registry.search_runs import open_study
from components.studies.tune.places import InProcess, measure_references, run_trial
from components.studies.tune.search import Study, draw_pareto
from components.studies.tune.trials import Search, open_bench
from flows.cli.study_tables import front_table
from flows.cli.tune import _details, next_steps, search_settings, tuned_workspace, write_tuned
from tests.chain import make_repository, safereact
from tests.flows import conftest
from tests.hostile import TOGETHER, steering
from tests.root import ROOT
from tests.searches import make_profile, make_workspace, rates, search, trial

SETTING = {"teacher": "reminder", "target_layers": (2, 4), "lr": 1.2e-5, "steps": 77}
FOUND = trial(3, rates(1, 98), schedule=1.234, **SETTING)
SEARCH = search(
    trial(0, rates(40, 98)),
    trial(1, None),
    trial(2, rates(0, 99, benign=9)),
    FOUND,
    trial(4, rates(0, 90)),
    front=(3, 4),
    best=3,
)


# --- the best as a profile -------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((ROOT / "profiles").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_tuned_profile_is_the_old_one_with_the_setting(tmp_path, path):
    workspace = Workspace(tmp_path, path.stem)
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")  # with what the profile extends
    target = tuned_workspace(workspace, None)
    write_tuned(workspace, target, SEARCH)
    old, new = load_profile(path).model_dump(), load_profile(target.profile_file).model_dump()
    reported = new.pop("description")
    start = (
        f"Found by `safereact tune --profile {path.stem}`: trial 3 of 5 of the study aaaaaaaaaaaa."
    )
    assert reported.startswith(start) and reported.endswith(old.pop("description"))
    setting = {"teacher": "reminder", "target_layers": (2, 4)}
    trained = {"lr": 1.2e-5, "steps": 77, "schedule": 1.234}
    assert {key: new["probe"][key] for key in setting} == setting
    assert {key: new["train"][key] for key in trained} == trained
    for section, changed in (("probe", setting), ("train", trained)):
        for key in changed:
            old[section].pop(key)
            new[section].pop(key)
    assert new == old
    lines = target.profile_file.read_text().splitlines()
    comments = [line for line in path.read_text().splitlines() if line.strip().startswith("#")]
    assert [line for line in lines if line.strip().startswith("#")] == comments
    assert "  target_layers: [2, 4]" in lines


def test_sections_that_were_left_to_the_defaults_are_written(tmp_path):
    workspace = Workspace(tmp_path, "short")
    (tmp_path / "profiles").mkdir()
    workspace.profile_file.write_text(
        "prepare: {sources: [{name: a, licence: MIT, path: a.jsonl}]}\n"
        "models: {kind: tiny}\nprobe: {}\nregistration: {name: short-safety}\n"
    )
    target = tuned_workspace(workspace, "other")
    write_tuned(workspace, target, SEARCH)
    assert load_profile(target.profile_file).train.steps == 77


def test_only_an_earlier_search_of_the_profile_is_written_over(tmp_path):
    (tmp_path / "profiles").mkdir()
    workspace = Workspace(tmp_path, "tiny")
    workspace.profile_file.write_text((ROOT / "profiles" / "tiny.yaml").read_text())
    target = tuned_workspace(workspace, "better")
    write_tuned(workspace, target, SEARCH)
    assert tuned_workspace(workspace, "better") == target
    with pytest.raises(ConfigError, match="exists and is not of an earlier search of 'tiny'"):
        tuned_workspace(workspace, "tiny")
    with pytest.raises(ConfigError, match="of an earlier search of 'better'"):
        tuned_workspace(target, "tiny")
    with pytest.raises(ConfigError, match=r"--to '\.\./evil' is not allowed"):
        tuned_workspace(workspace, "../evil")


def test_the_next_steps_list_and_run_the_new_profile(project: Workspace, monkeypatch):
    monkeypatch.chdir(project.root)
    target = tuned_workspace(project, None)
    write_tuned(project, target, SEARCH)
    _, add, run = next_steps(project, target.profile).splitlines()
    assert run.split() == ["safereact", "run", "--profile", "demo-tuned"]
    done = conftest.invoke(*add.split()[1:])
    assert done.returncode == 0, done.stderr
    assert "demo-tuned" in read_lists(project.parameters)[LISTED]


# --- what is shown ---------------------------------------------------------------------------


def test_the_table_has_the_models_the_front_and_the_shipped_setting():
    screen = io.StringIO()
    Console(width=180, file=screen).print(front_table(SEARCH))
    text = screen.getvalue()
    rows = [line.split("│") for line in text.splitlines() if line.startswith("│")]
    named = {cells[1].strip() or cells[2].strip(): cells for cells in rows}
    assert {"base", "post-trained", "0", "3", "4"} <= named.keys()
    assert not {"1", "2"} & named.keys(), "neither failed nor beaten ones"
    assert named["post-trained"][3].strip() == "60.0 %"
    assert named["3"][3].strip() == "1.0 %" and named["3"][7].strip() == "98.0 %"
    assert "off the front" in text and "n = 100" in text and "not measured" in text


def test_the_picture_is_the_same_bytes_for_the_same_search(tmp_path):
    for name in ("one.svg", "two.svg"):
        draw_pareto(SEARCH, tmp_path / name)
    picture = (tmp_path / "one.svg").read_text()
    assert picture == (tmp_path / "two.svg").read_text()
    optuna = ("Best Trial", "Feasible Trial", "Infeasible Trial")
    own = ("shipped setting", "best setting", "post-trained", "base")
    for label in (*optuna, *own, "tiny: 5 trials on 100 harmful validation prompts"):
        assert f">{label}<" in picture, label


@pytest.mark.parametrize("figures", [rates(60, 98, benign=50), None], ids=["beyond", "failed"])
def test_a_search_without_front_or_best_is_drawn(tmp_path, figures):
    draw_pareto(search(trial(0, figures)), tmp_path / "none.svg")
    picture = (tmp_path / "none.svg").read_text()
    assert "Best Trial" not in picture and "best setting" not in picture


def test_nothing_in_the_log_steers_a_terminal(tmp_path):
    path = tmp_path / "logs" / "tune.log"
    with _details(path):
        logging.getLogger("components.studies.tune.trials").info("the trial said %s", TOGETHER)
        try:
            raise ValueError(TOGETHER)
        except ValueError:
            logging.getLogger("components.studies.tune.trials").warning("failed", exc_info=True)
    written = path.read_text(encoding="utf-8")
    assert written.count("⟨U+001B⟩]0;title⟨U+0007⟩") == written.count("⟨U+202E⟩") == 2
    assert not steering(written)


# --- a search on the random pair -------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory, random_models, random_prompts) -> Iterator[Workspace]:
    """A workspace of the random pair, with an MLflow store that this module's searches share."""
    with pytest.MonkeyPatch.context() as patch:
        # MLflow names the store that was opened in the environment; this takes it out again.
        patch.setenv("MLFLOW_TRACKING_URI", "")
        patch.delenv("MLFLOW_TRACKING_URI")
        yield make_workspace(tmp_path_factory.mktemp("root"), random_models, random_prompts)


@pytest.fixture
def searched(store, request):
    """A function that searches on the random pair, in an experiment of the test's name."""
    registry = Registry(store.root)

    def run(*, trials: int, minutes: float = 15, **sections: object) -> Search:
        bench = open_bench(make_profile(**sections), store)
        study = open_study(
            registry, registry.experiment(request.node.name), store.profile, bench.key
        )
        return search_settings(bench, store.search, study, trials=trials, minutes=minutes)

    return run


@pytest.mark.slow  # two searches
def test_a_search_ends_with_its_trials_or_its_minutes(searched, store, request):
    first = searched(trials=2, minutes=0)
    assert len(first.trials) == 1, "the first trial is taken in any case"
    second = searched(trials=2)
    assert second.trials[0] == first.trials[0] and len(second.trials) == 2
    assert searched(trials=1) == second, "a study never shrinks"
    assert Search.load(store.search) == second
    reported = {"tune random": "FINISHED", "trial 0": "FINISHED", "trial 1": "FINISHED"}
    assert _runs(store.root, request.node.name) == reported


def test_a_search_whose_trials_all_fail_says_why(searched, store, request):
    with pytest.raises(TrainingError, match="all 2 trials failed; the first: all 12 prompts have"):
        searched(trials=2, train={"max_prompt_tokens": 1})
    search = Search.load(store.search)
    assert search.best is None and search.front == ()
    assert all("max_prompt_tokens" in (trial.failure or "") for trial in search.trials)
    reported = {"tune random": "FINISHED", "trial 0": "FAILED", "trial 1": "FAILED"}
    assert _runs(store.root, request.node.name) == reported


class TwoAtOnce(InProcess):
    """The bench of this process, which is asked as two workers are."""

    at_once = 2


def search_in_workers(root: str) -> None:
    """Search with four trials, and say what is logged: what the killed process below does."""
    logging.basicConfig(stream=sys.stdout, level=logging.INFO)
    workspace, registry = Workspace(Path(root), "random"), Registry(Path(root))
    bench = open_bench(make_profile(), workspace)
    study = open_study(registry, registry.experiment("killed"), "random", bench.key)
    search_settings(bench, workspace.search, study, trials=4, minutes=15)


@pytest.mark.slow
def test_a_search_killed_within_a_round_of_two_workers_tries_what_an_undisturbed_one_tries(
    two_workers, random_models, random_prompts, tmp_path
):
    workspace = make_workspace(tmp_path, random_models, random_prompts)
    code = "import sys; from tests.flows.cli.test_tune import search_in_workers as run;"
    command = [sys.executable, "-uc", f"{code} run(sys.argv[1])", tmp_path]
    own = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    for shown in ("trial 1, 2 of 4", "trial 2: complies"):
        with subprocess.Popen(
            command, cwd=ROOT, env=os.environ | own, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            for line in child.stdout:
                if shown in line:
                    child.kill()
        assert child.returncode == -signal.SIGKILL
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | own, capture_output=True, text=True, check=True
    )
    assert "trial 2, 3 of 4" not in done.stdout
    found = Search.load(workspace.search)
    assert not (workspace.search / ".trial").exists()

    bench = open_bench(make_profile(), workspace)
    study = Study(tmp_path / STUDY, bench.key, bench.space, allowed=bench.allowed, seed=0)
    place = TwoAtOnce(bench)
    study.store_references(measure_references(bench, place))
    while len(study.trials) < 4:
        proposals = study.propose(place.at_once)
        tried = place.map(partial(run_trial, tmp_path), [each.setting for each in proposals])
        for proposal, each in zip(proposals, tried, strict=True):
            study.add(proposal, each)
    assert found.references == study.references
    assert found.trials == study.trials


def _runs(root: Path, experiment: str) -> dict[str, str]:
    """Return the state of every run of an experiment in the embedded store, by its name."""
    registry = Registry(root)
    runs = registry._client.search_runs([registry.experiment(experiment)])
    states = {" ".join(run.info.run_name.split()[:2]): run.info.status for run in runs}
    assert len(states) == len(runs)
    return states


# --- the command -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "reported"),
    [
        (("--profile", "none"), 2, "unknown profile 'none'"),
        (("--profile", "demo", "--to", "demo"), 2, "is not of an earlier search of 'demo'"),
        (("--profile", "demo", "--trials", "0"), 2, "greater than or equal to 1"),
    ],
)
def test_wrong_usage_is_reported(project: Workspace, words, code, reported):
    done = conftest.invoke("tune", *words)
    assert done.returncode == code
    assert reported in done.stderr and "Traceback" not in done.stderr


def test_a_server_that_is_down_is_reported_before_anything_runs(project: Workspace, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    done = conftest.invoke("tune", "--profile", "demo")
    assert done.returncode == 1
    assert "does not answer" in done.stderr and "Traceback" not in done.stderr
    assert not project.stage("prepare").exists()


def test_a_stage_that_fails_is_reported(project: Workspace):
    conftest.behave(project, "prepare", "fail 9 of 10 rows were quarantined")
    done = conftest.invoke("tune", "--profile", "demo")
    assert done.returncode == 1
    assert "9 of 10 rows were quarantined" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_what_validation_lacks_is_reported_before_the_long_stages(tmp_path):
    root = make_repository(tmp_path / "repository")
    profile = root / "profiles" / "mini.yaml"
    share = profile.read_text().replace("validation_share: 0.3", "validation_share: 0")
    profile.write_text(share.replace("prepare:\n", "prepare:\n  min_rows: {}\n"))
    done = safereact(root, "tune", "--profile", "mini")
    assert done.returncode == 1
    assert "the validation split has no harmful and no benign and no reasoning" in done.stderr
    assert not (root / "artifacts/mini/models").exists()


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_with_its_trials_and_runs(tmp_path, monkeypatch):
    root = make_repository(tmp_path / "repository")
    hidden = ("SAFEREACT_ROOT", "MLFLOW_TRACKING_URI")
    inherited = {name: value for name, value in os.environ.items() if name not in hidden}
    command = [sys.executable, "-m", "flows.cli.main", "tune", "--profile", "mini", "--trials", "2"]
    with subprocess.Popen(
        command,
        cwd=root,
        env={**inherited, "PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        seen = []
        for line in child.stdout:
            seen.append(line)
            if "trial 1, 2 of 2" in line:
                os.kill(child.pid, signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL, "".join(seen)
    folder = Workspace(root, "mini").search
    assert not (folder / Search.FILE).exists()

    done = safereact(root, "tune", "--profile", "mini", "--trials", "2")
    assert "trial 0, 1 of 2" not in done.stdout and "trial 1, 2 of 2" in done.stdout, done.stderr
    found = Search.load(folder)
    assert [t.number for t in found.trials] == [0, 1] and found.trials[0].shipped
    reported = [
        line.partition("trial 1, 2 of 2: ")[2] for line in seen if "trial 1, 2 of 2" in line
    ]
    assert reported[0].strip() in done.stdout, "another setting than before the kill"
    assert found.references.keys() == {Arm.BASE, Arm.POST_TRAINED}
    assert (folder / "pareto.svg").is_file() and not (folder / ".trial").exists()
    # The pair is so small that no setting makes it comply less.
    assert done.returncode == 1 and "no profile was written" in done.stderr
    assert not (root / "profiles" / "mini-tuned.yaml").exists()

    before = (folder / Search.FILE).read_bytes()
    again = safereact(root, "tune", "--profile", "mini", "--trials", "2")
    assert "trial 1, 2 of 2" not in again.stdout
    assert (folder / Search.FILE).read_bytes() == before
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert _runs(root, "safereact") == {
        "tune mini": "FINISHED",
        "trial 0": "FINISHED",
        "trial 1": "FINISHED",
    }
