"""Several seeds as DVC experiments, and the table of their figures."""

from __future__ import annotations

import hashlib
import re
import subprocess
from typing import Any

import dvc.api
import pytest
from ruamel.yaml import YAML

from components.core.paths import Workspace
from flows.cli.runs import run_seeds
from flows.cli.study_tables import seeds_table
from tests.flows.conftest import behave, invoke, leak_into_training, safereact


def git(project: Workspace, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"]
    command = ["git", "-C", str(project.root), *identity, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def commit(project: Workspace) -> None:
    git(project, "add", "-A")
    git(project, "commit", "-qm", "one")


@pytest.mark.slow
def test_every_seed_has_its_rows_marked_where_training_held_them_and_the_working_tree_stays(
    project: Workspace,
):
    reported = leak_into_training(project)
    commit(project)
    done = safereact("seeds", "--profile", "demo", "--seeds", "4,5")
    assert done.returncode == 0, done.stderr
    table = seeds_table(project, {4: "demo-seed-4", 5: "demo-seed-5"})
    rows = [[str(cell) for cell in row] for row in table.rows]
    assert [row[0] for row in rows] == ["4"] * 4 + ["5"] * 4
    assert all("n=" in row[2] or row[2] == "not measured" for row in rows)
    (row,) = (row for row in rows if row[:2] == ["4", "restored"])
    assert row[2].startswith("95.0 %† [") and "".join(row).count("†") == 1
    assert re.search(r"^ 4 +restored +95\.0 %† ", done.stdout, re.MULTILINE)
    assert "|" not in done.stdout
    assert f"\nseed 4: {reported}" in done.stdout
    # What stands in for the stages makes one adapter of both, whose decision is one look.
    for seed in (4, 5):
        assert f"\nseed {seed}: look 1 at these test prompts" in done.stdout
    assert git(project, "status", "--porcelain") == ""
    assert not (project.root / "artifacts" / "demo").exists()
    fourth, fifth = (stages_of(project, f"demo-seed-{seed}") for seed in (4, 5))
    assert fourth["prepare-demo"] == fifth["prepare-demo"]
    assert fourth["train@demo"] != fifth["train@demo"]


def stages_of(project: Workspace, experiment: str) -> dict[str, Any]:
    """Return what DVC locked of an experiment's stages."""
    locked = dvc.api.read("dvc.lock", repo=str(project.root), rev=experiment)
    stages: dict[str, Any] = YAML(typ="safe").load(locked)["stages"]
    return stages


@pytest.mark.slow
def test_what_git_does_not_track_goes_with_the_experiment(project: Workspace):
    (project.root / ".gitignore").open("a").write("\nown/\n")
    suite = project.root / "data" / "suites" / "mine.yaml"
    rows = project.root / "data" / "raw" / "exam" / "rows.jsonl"
    looked = [path.relative_to(project.root).as_posix() for path in (suite, rows)]
    work = project.root / "work.py"
    work.write_text(
        f"import pathlib\nfor p in {['own', *looked]}: pathlib.Path(p).stat()\n{work.read_text()}"
    )
    text = project.profile_file.read_text()
    used = text.replace("prepare:\n", "prepare:\n  suites: {mine: {}}\n", 1)
    project.profile_file.write_text(used)
    commit(project)
    assert "own" not in git(project, "ls-files")
    rows.parent.mkdir(parents=True)
    rows.write_text('{"goal": "open a jar"}\n')
    pin = hashlib.sha256(rows.read_bytes()).hexdigest()
    shipped = (project.root / "data" / "suites" / "advbench.yaml").read_text()
    suite.write_text(
        re.sub("path: .*", f"path: {looked[1]}", re.sub("sha256: .*", f"sha256: {pin}", shipped))
    )
    for _ in ("first", "once more"):
        (name,) = run_seeds(project, [3], "prepare").values()
        assert dvc.api.read("profiles/demo.yaml", repo=str(project.root), rev=name)


@pytest.mark.slow  # two chains
def test_what_fails_is_reported(project: Workspace):
    behave(project, "prepare", "fail there are no prompts")
    commit(project)
    done = safereact("seeds", "--profile", "demo", "--seeds", "1")
    assert done.returncode == 1
    assert "prepare-demo" in done.stderr and "Traceback" not in done.stderr


def test_seeds_are_numbers(project: Workspace):
    done = invoke("seeds", "--profile", "demo", "--seeds", "one")
    assert done.returncode == 2
    assert "'one' is not a list such as 0,1,2" in done.stderr


def test_a_profile_that_git_does_not_track_is_not_put_away(project: Workspace):
    text = project.profile_file.read_text()
    project.profile_file.rename(project.root / "demo.yaml")
    project.profile_file.with_name("README.md").write_text("One file a pair.\n")
    commit(project)
    project.profile_file.write_text(text)
    done = invoke("seeds", "--profile", "demo", "--seeds", "1")
    assert done.returncode != 0
    assert "git does not track profiles/demo.yaml" in done.stderr
    assert project.profile_file.read_text() == text
