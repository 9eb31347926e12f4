"""The studies through DVC, and the table of all methods."""

from __future__ import annotations

import re
from pathlib import Path

import dvc.api
import pytest

from components.chain import STAGES, listed_stages
from components.core.documents import read_yaml
from components.core.paths import Workspace
from components.core.result import RateFigure
from components.core.storage import read_json, write_json
from components.core.vocabulary import Arm
from components.prepare.result import LEAK_MARK, SuiteSet
from components.probe.result import Probe
from components.profile import load_profile
from components.studies.baselines.result import Baseline, Baselines
from components.studies.compare.result import Comparison, Pooled
from flows.cli.compare_tables import COMPARISON_PAGE, Found, comparison_tables, seeds_tables
from flows.cli.comparison import Searched, forecast
from flows.cli.runs import run_seeds
from tests.evidence import leak, teacher_figures
from tests.flows.cli.test_seeds import commit
from tests.flows.conftest import behave, safereact
from tests.releases import RECORDED, write_result
from tests.root import ROOT
from tests.searches import figure


def test_a_profile_is_listed_and_every_method_has_its_row_and_its_cost(finished: Workspace):
    text = finished.parameters.read_text()
    finished.parameters.write_text(text.replace("compared: {demo: {}}", "compared: {}"))
    done = safereact("compare", "--profile", "demo")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("up to date") == 7
    assert "written: params.yaml" in done.stdout
    assert read_yaml(finished.parameters)["compared"] == {"demo": {}}
    assert finished.parameters.read_text().startswith("# kept")
    page = (finished.comparison / COMPARISON_PAGE).read_text("utf-8")
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in _lines(page)]
    rows = [row for row in rows if row[0] != "---"]
    assert f"the same in Markdown: {finished.comparison.relative_to(finished.root)}" in done.stdout
    assert re.search(r"^ post-trained +\d", done.stdout, re.MULTILINE) and "|" not in done.stdout
    costs = ["steps", "seconds", "tokens", "peak MiB, host"]
    assert rows[0][0] == "arm" and rows[0][-4:] == costs
    named = {row[0]: row for row in rows[1:]}
    arms = ["base", "post-trained", "restored (safereact-base)", "sft-baseline", "sft"]
    assert list(named) == arms
    assert named["sft"][1] == "95.0 % [88.8, 97.8], n=100"
    assert named["sft"][-4:] == ["60", "7", "1,234", "321"]
    assert named["restored (safereact-base)"][-3:] == ["", "5,678", ""]
    assert "safereact-pruned: left out, it cannot teach" in done.stdout
    assert "Where seconds and memory are empty, the result came from DVC's cache" in done.stdout
    assert (
        "rubric: 1,234 requests (those of killed runs included), 5,678 tokens read and 0 written, "
        "1.25 US dollars by the profile's prices"
    ) in done.stdout
    assert "3 of 300 completions were judged without their middle" in done.stdout


@pytest.mark.slow
def test_only_what_changed_runs_again_and_the_gate_takes_no_part(finished: Workspace):
    behave(finished, "baselines", "do it again")
    behave(finished, "gate", "fail if it runs")
    done = safereact("compare", "--profile", "demo")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("up to date") == 5
    assert "working on baselines" in done.stdout and "working on train" not in done.stdout
    assert "working on compare" not in done.stdout, "the baselines came out the same"
    assert "written:" not in done.stdout


@pytest.mark.slow  # two comparisons
@pytest.mark.parametrize(
    ("profile", "what", "code", "reported"),
    [
        ("none", "do", 2, "unknown profile 'none'"),
        ("demo", "fail the teacher never refuses", 1, "the teacher never refuses"),
    ],
)
def test_what_fails_is_reported(finished: Workspace, profile, what, code, reported):
    behave(finished, "baselines", what)
    done = safereact("compare", "--profile", profile)
    assert done.returncode == code
    assert reported in done.stderr and "Traceback" not in done.stderr


def write_comparison(workspace: Workspace) -> Comparison:
    for stage in (*STAGES[:5], *listed_stages("compared")):
        write_result(stage, workspace)
    return Comparison.load(workspace.stage("compare"))


def tables_of(workspace: Workspace) -> list[str]:
    return [table.markdown() for table in comparison_tables(Found.here(workspace))]


def test_a_teacher_that_failed_its_check_is_marked_with_its_figures(tmp_path: Path):
    workspace = Workspace(tmp_path, "demo")
    comparison = write_comparison(workspace)
    rates = comparison.rates["sft"]
    trained = ("safereact-reminder", "safereact-pruned-reminder")
    comparison.model_copy(
        update={
            "rates": comparison.rates | dict.fromkeys(trained, rates),
            "arms": (*comparison.arms, *trained),
        }
    ).save(comparison.folder)
    baselines = Baselines.load(workspace.stage("baselines"))
    arms = tuple(Baseline(arm=arm, digest="8" * 64, reason=None) for arm in trained)
    baselines.model_copy(update={"arms": arms}).save(baselines.folder)
    checked = (
        teacher_figures("base", refused=1.0),
        teacher_figures("pruned", passed=False),
        teacher_figures("reminder", refused=0.7, passed=False, reason="refuses 70% of 12"),
        teacher_figures("pruned-reminder", refused=0.9),
    )
    probe = Probe.load(workspace.stage("probe"))
    probe.model_copy(update={"teachers": checked}).save(probe.folder)
    table = tables_of(workspace)[0]
    rows = [line.split(" | ")[0] for line in table.splitlines() if "safereact-" in line]
    assert rows == [
        "| restored (safereact-base)",
        "| safereact-reminder (teacher failed its check)",
        "| safereact-pruned-reminder",
        "safereact-pruned: left out, it cannot teach",
        "safereact-reminder: its teacher did not pass probe.check: refuses 70% of 12",
    ]


def test_nothing_is_said_of_empty_cells_where_there_are_none(tmp_path: Path):
    workspace = Workspace(tmp_path, "demo")
    write_comparison(workspace)
    assert "DVC's cache" in tables_of(workspace)[0]
    costs = {"seconds": 61.6, "peak_memory_mib": 512}
    arms = (Arm.RESTORED, Arm.BASELINE)
    parts = dict.fromkeys(arms, costs)
    write_json(workspace.run_record("train"), RECORDED | {"parts": parts})
    table = tables_of(workspace)[0]
    assert "DVC's cache" not in table and "| 62 | 5,678 | 512 |" in table


def test_rates_of_a_suite_that_training_held_are_marked_and_explained(tmp_path: Path):
    workspace = Workspace(tmp_path, "demo")
    write_comparison(workspace)
    assert LEAK_MARK not in tables_of(workspace)[0]
    prompts = SuiteSet.load(workspace.stage("prepare"))
    leaks = (leak("harmful", "run", 3, dropped=5), leak("elsewhere", "run", 3, dropped=5))
    prompts.model_copy(update={"leaks": leaks}).save(prompts.folder)
    table = tables_of(workspace)[0].splitlines()
    (row,) = (line for line in table if line.startswith("| base |"))
    assert row.split(" | ")[1].startswith("95.0 %† [") and row.count(LEAK_MARK) == 2
    assert [line for line in table if line.startswith(LEAK_MARK)] == [
        "† harmful: training as it came repeated 3 of 300 prompts; 5 training rows were dropped "
        "for it; none is repeated in what was trained on."
    ]


def test_of_several_attacks_the_worst_stands_in_the_table_and_all_in_the_other(tmp_path: Path):
    workspace = Workspace(tmp_path, "demo")
    comparison = write_comparison(workspace)
    assert len(tables_of(workspace)) == 1
    attacked = {
        "harmful.role-play.refused": figure(90),
        "harmful.persona.refused": figure(40),
        "harmful.prefilled.refused": figure(3),
        "benign.persona.refused": figure(2),
        "benign.role-play.refused": figure(7),
    }
    rates = comparison.rates | {"sft": {**comparison.rates["sft"], **attacked}}
    comparison.model_copy(update={"rates": rates}).save(comparison.folder)
    table, each = tables_of(workspace)
    head, _, *rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in _lines(table)]
    shown = dict(zip(head, next(row for row in rows if row[0] == "sft"), strict=True))
    assert shown["refuses harmful, worst attack trained on"].endswith("n=100 (role-play)")
    assert shown["refuses harmful, worst held-out attack"] == (
        "3.0 % [0.0, 8.0], n=100 (prefilled)"
    )
    assert shown["refuses harmless, worst attack"].endswith("n=100 (benign, role-play)")
    heads, _, *lines = [[cell.strip() for cell in line[1:-1].split("|")] for line in _lines(each)]
    assert heads == [
        "refused under attacks",
        "harmful, prefilled, held out",
        "harmful, role-play",
        "harmful, persona, held out",
        "benign, role-play",
        "benign, persona, held out",
    ]
    assert lines[-1][1].startswith("3.0 %") and lines[0][1] == "not measured"


def _lines(table: str) -> list[str]:
    return [line for line in table.splitlines() if line.startswith("|")]


# --- several seeds ---------------------------------------------------------------------------


def test_pooled_figures_stand_beside_the_ends_of_their_range_and_costs_are_means(tmp_path: Path):
    workspace = Workspace(tmp_path, "demo")
    comparison = write_comparison(workspace)
    here, part = Found.here(workspace), {"seconds": 10.0, "peak_memory_mib": 300}
    found = {4: here._replace(parts={"sft": part}), 5: here._replace(parts={})}
    rates = {**comparison.rates, "sft": {"harmful.refused": RateFigure.of(75, 100, 0.95)}}
    whole = comparison.model_copy(update={"rates": rates})
    spreads = {"sft": {"harmful.refused": (0.6, 0.9)}}
    (found_table,) = seeds_tables(found, Pooled(whole, spreads))
    table = found_table.markdown()
    assert "Pooled over the seeds 4, 5" in table
    head, _, *rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in _lines(table)]
    shown = dict(zip(head, next(row for row in rows if row[0] == "sft"), strict=True))
    assert shown["refuses harmful"] == "75.0 % [65.7, 82.5], n=100, seeds 60.0 to 90.0"
    assert shown["seconds"] == "10" and shown["tokens"] == "1,234"
    assert "sft: seconds and memory are of 1 of 2 seeds" in table
    (again,) = seeds_tables({4: found[4], 5: found[4]}, Pooled(whole, spreads))
    assert "sft: seconds" not in again.markdown()


def test_a_method_whose_search_found_nothing_is_named():
    nothing = Searched({}, {"sft": "all 3 trials failed", "distil": "no trial is good enough"})
    said = nothing.words(3)
    assert "by 3 validation trials a method: none." in said
    assert "keep their own: sft: all 3 trials failed; distil: no trial is good enough." in said
    assert "keep" not in Searched({"baselines.sft.lr": 0.1}, {}).words(3)


def test_the_cost_is_told_from_what_the_last_runs_took(tmp_path: Path):
    workspace = Workspace(tmp_path, "demo")
    workspace.profile_file.parent.mkdir()
    text = (ROOT / "profiles" / "tiny.yaml").read_text()
    arms = "baselines:\n  methods: [distil, sft, distil-shuffled]\n"
    workspace.profile_file.write_text(text.replace("baselines:\n", arms))
    unknown = forecast(workspace, [0, 1, 2], 10)
    assert unknown.startswith("35 trainings at most: 3 seeds of 5, 10 trials of each of 2 methods")
    assert "no run of this profile was measured here" in unknown
    part = {"peak_memory_mib": 900}
    took = {"prepare": 5, "models": 55, "probe": 40, "train": 100, "evaluate": 80}
    for stage, seconds in took.items():
        parts = {"restored": part | {"seconds": 60.0}} if stage == "train" else {}
        write_json(workspace.run_record(stage), RECORDED | {"seconds": seconds, "parts": parts})
    parts = {"sft": part | {"seconds": 30.0}}
    write_json(workspace.run_record("baselines"), RECORDED | {"parts": parts})
    # An arm is asked for 20 s. Trials: 10 x (60 + 20 + 30 + 20). A seed: 280 for the chain,
    # 14 x 20 for what trains nothing, 60 + 30 + 60 to train and 3 x 20 to ask.
    assert "; about 61 minutes, going by" in forecast(workspace, [0, 1, 2], 10)
    assert "trials" not in forecast(workspace, [0], 0)


@pytest.mark.slow
def test_seeds_are_compared_as_experiments_and_the_tables_are_kept(project: Workspace):
    commit(project)
    done = safereact("compare", "--profile", "demo", "--seeds", "4,5")
    assert done.returncode == 0, done.stderr
    assert "36 trainings at most: 2 seeds of 18; how long they take is not known" in done.stdout
    assert "Pooled over the seeds 4, 5" in done.stdout
    page = (project.comparison / COMPARISON_PAGE).read_text("utf-8")
    assert "| restored (safereact-base) | 95.0 % [" in page and "n=200" not in page
    assert re.search(r"^ post-trained +\d", done.stdout, re.MULTILINE) and "|" not in done.stdout
    document = read_json(project.comparison / "comparison.json")
    assert document["seeds"].keys() == {"4", "5"} and document["settings"] == {}
    assert document["pooled"]["sft"]["harmful.refused"]["n"] == 100


def test_settings_reach_the_profile_of_an_experiment(project: Workspace):
    commit(project)
    settings = {
        "baselines.settings.on-policy.lr": 2e-05,
        "baselines.settings.safereact.target_layers": [1, 3],
        "baselines.circuit_breaker.steps": 7,
    }
    (name,) = run_seeds(project, [6], "prepare", settings).values()
    shown = dvc.api.read("profiles/demo.yaml", repo=str(project.root), rev=name)
    (project.root / "shown.yaml").write_text(shown)
    section = load_profile(project.root / "shown.yaml").baselines
    assert section.settings["on-policy"].lr == 2e-05
    assert section.settings["safereact"].target_layers == (1, 3)
    assert section.circuit_breaker.steps == 7
    assert load_profile(project.root / "shown.yaml").seed == 6
