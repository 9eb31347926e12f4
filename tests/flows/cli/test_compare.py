"""The studies through DVC, and the table of all methods."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.chain import STAGES, listed_stages
from components.core.documents import read_yaml
from components.core.paths import Workspace
from components.core.storage import write_json
from components.core.vocabulary import Arm
from components.prepare.result import LEAK_MARK, SuiteSet
from components.probe.result import Probe
from components.studies.baselines.result import Baseline, Baselines
from components.studies.compare.result import Comparison
from flows.cli.compare_tables import comparison_tables, families, methods_table
from tests.evidence import leak, teacher_figures
from tests.flows.conftest import behave, safereact
from tests.releases import write_result
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
    rows = [
        [cell.strip() for cell in line.strip()[1:-1].split("|")]
        for line in done.stdout.splitlines()
        if line.startswith("| ")
    ]
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


def test_only_what_changed_runs_again_and_the_gate_takes_no_part(finished: Workspace):
    behave(finished, "baselines", "do it again")
    behave(finished, "gate", "fail if it runs")
    done = safereact("compare", "--profile", "demo")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("up to date") == 5
    assert "working on baselines" in done.stdout and "working on train" not in done.stdout
    assert "working on compare" not in done.stdout, "the baselines came out the same"
    assert "written:" not in done.stdout


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
    table = methods_table(workspace)
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
    assert "DVC's cache" in methods_table(workspace)
    costs = {"seconds": 61.6, "peak_memory_mib": 512}
    arms = (Arm.RESTORED, Arm.BASELINE)
    write_json(workspace.run_record("train"), {"parts": dict.fromkeys(arms, costs)})
    table = methods_table(workspace)
    assert "DVC's cache" not in table and "| 62 | 5,678 | 512 |" in table


def test_rates_of_a_suite_that_training_held_are_marked_and_explained(tmp_path: Path):
    workspace = Workspace(tmp_path, "demo")
    write_comparison(workspace)
    assert LEAK_MARK not in methods_table(workspace)
    prompts = SuiteSet.load(workspace.stage("prepare"))
    leaks = (leak("harmful", "run", 3, dropped=5), leak("elsewhere", "run", 3, dropped=5))
    prompts.model_copy(update={"leaks": leaks}).save(prompts.folder)
    table = methods_table(workspace).splitlines()
    (row,) = (line for line in table if line.startswith("| base |"))
    assert row.split(" | ")[1].startswith("95.0 %† [") and row.count(LEAK_MARK) == 2
    assert [line for line in table if line.startswith(LEAK_MARK)] == [
        "† harmful: training as it came repeated 3 of 300 prompts; 5 training rows were dropped "
        "for it; none is repeated in what was trained on."
    ]


def test_of_several_attacks_the_worst_stands_in_the_table_and_all_in_the_other(tmp_path: Path):
    workspace = Workspace(tmp_path, "demo")
    comparison = write_comparison(workspace)
    assert families(comparison) == "" and len(comparison_tables(workspace)) == 1
    attacked = {
        "harmful.role-play.refused": figure(90),
        "harmful.persona.refused": figure(40),
        "harmful.prefilled.refused": figure(3),
        "benign.persona.refused": figure(2),
        "benign.role-play.refused": figure(7),
    }
    rates = comparison.rates | {"sft": {**comparison.rates["sft"], **attacked}}
    comparison.model_copy(update={"rates": rates}).save(comparison.folder)
    table, each = comparison_tables(workspace)
    head, _, *rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in _lines(table)]
    shown = dict(zip(head, next(row for row in rows if row[0] == "sft"), strict=True))
    assert shown["refuses harmful, worst attack trained on"].endswith("n=100 (role-play)")
    assert shown["refuses harmful, worst held-out attack"] == (
        "3.0 % [0.0, 8.0], n=100 (prefilled)"
    )
    assert shown["refuses harmless, worst attack"].endswith("n=100 (benign, role-play)")
    lines = [[cell.strip() for cell in line[1:-1].split("|")] for line in _lines(each)]
    assert [line[:3] for line in lines[2:]] == [
        ["harmful", "prefilled", "held out"],
        ["harmful", "role-play", "trained on"],
        ["harmful", "persona", "held out"],
        ["benign", "role-play", "trained on"],
        ["benign", "persona", "held out"],
    ]
    assert lines[2][-1].startswith("3.0 %") and lines[2][3] == "not measured"


def _lines(table: str) -> list[str]:
    return [line for line in table.splitlines() if line.startswith("|")]
