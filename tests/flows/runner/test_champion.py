"""The champion on its way from the registry to DVC, and what the commands say of it."""

from __future__ import annotations

import subprocess

import pytest

from components.chain import STAGES
from components.core.errors import ConfigError
from components.core.paths import Workspace
from components.core.run_record import untracked
from components.evaluate.result import NO_CHAMPION, Champion
from components.gate.result import Decision
from components.profile import load_profile
from components.registry.mlflow_registry import Registry
from components.registry.promotion import promote
from components.registry.registration import register
from flows.cli.profiles import add_profile
from flows.cli.runs import inputs_of
from flows.doctor.examination import Examined, check_profile_file
from flows.doctor.findings import State
from flows.runner.dvc import bring_up_to_date, stale_stages
from flows.runner.profiles import check_profile
from flows.runner.registry import bring_champion, champion_moved
from tests.flows.conftest import invoke, safereact

RULE = """
  - {name: as good, metric: harmful.refused, arm: restored, against: champion, margin: 0.02,
     min_n: 1}
"""


def measure(project: Workspace) -> None:
    """Let the profile measure the champion."""
    text = project.profile_file.read_text()
    assert "\nevaluate:\n" in text
    project.profile_file.write_text(
        text.replace("\nevaluate:\n", "\nevaluate:\n  champion: true\n")
    )


def test_a_profile_that_does_not_measure_it_asks_nobody(project: Workspace):
    (project.champion / ".gitkeep").unlink()
    project.champion.rmdir()
    assert not bring_champion(project)
    assert [path.name for path in project.champion.iterdir()] == [".gitkeep"]
    assert not project.tracking_store.exists()


@pytest.mark.slow
def test_another_champion_makes_the_evaluation_stale_and_nothing_else(project: Workspace):
    measure(project)
    bring_up_to_date(project, STAGES)
    champion = Champion.load(project.champion)
    assert champion.released is None and champion.name == "demo-safety"
    register(project, name="demo-safety", experiment="safereact")
    registry = Registry(project.root)
    promote(registry, "demo-safety", by="ann", why="first")
    assert not bring_champion(project)  # the adapter itself
    assert stale_stages(project) == set()
    Champion(name="other-safety", released=None).save(project.champion)
    assert stale_stages(project) == {"evaluate"}

    about = Decision.load(project.stage("gate")).model_copy(update={"champion": NO_CHAMPION})
    about.save(about.folder)
    assert champion_moved(project, registry) == ""  # it is the adapter itself
    about.model_copy(update={"adapter": "d" * 64}).save(about.folder)
    moved = champion_moved(project, registry)
    assert "the decision's champion (none yet) is not the champion here" in moved
    assert f"demo: {moved}" in " ".join(safereact("status").stdout.split())


@pytest.mark.slow
def test_a_run_asks_for_the_champion_before_it_evaluates(project: Workspace):
    measure(project)
    done = safereact("run", "--profile", "demo")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    told = next(i for i, line in enumerate(lines) if "was promoted before" in line)
    assert told < next(i for i, line in enumerate(lines) if "working on evaluate" in line)
    assert safereact("status").stdout.count("up to date") == len(STAGES)


def test_by_hand(project: Workspace):
    done = invoke("champion", "--profile", "demo")
    assert done.returncode == 2 and "write `champion: true` under its `evaluate`" in done.stderr
    measure(project)
    done = invoke("champion", "--profile", "demo")
    assert done.returncode == 0, done.stderr
    assert "no version of demo-safety was promoted before this adapter: brought" in done.stdout
    assert "here already" in invoke("champion", "--profile", "demo").stdout


def test_a_policy_that_compares_with_it_stops_a_profile_that_does_not_measure_it(
    project: Workspace,
):
    policy = project.root / "mlflow" / "policies" / "default.yaml"
    policy.write_text(policy.read_text() + RULE)
    with pytest.raises(ConfigError, match=r"line \d+: rule 'as good' compares with the champion"):
        check_profile(project)
    (found,) = check_profile_file(Examined.of(load_profile(project.profile_file), project))
    assert found.state is State.MISSING and "as good" in found.message
    measure(project)
    check_profile(project)


def test_a_new_profile_has_the_folder_that_dvc_watches(project: Workspace):
    other = Workspace(project.root, "other")
    other.profile_file.write_text(project.profile_file.read_text())
    add_profile(other, None, checkpoints=project.root / "own")
    assert [path.name for path in other.champion.iterdir()] == [".gitkeep"]


def test_the_champion_goes_with_an_experiment(project: Workspace):
    subprocess.run(["git", "-C", str(project.root), "add", "-A"], check=True)
    assert untracked(project.root, inputs_of(project)) == []
    Champion(name="demo-safety", released=None).save(project.champion)
    assert untracked(project.root, inputs_of(project)) == ["data/champions/demo/champion.json"]
