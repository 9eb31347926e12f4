"""`safereact status --all`: a line a profile, and what is wrong is a line and not an end."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from components.core.paths import Workspace
from components.registry.looks import looks_of, record_look
from components.registry.mlflow_registry import SIGNATURES, Registry
from components.registry.promotion import promote
from components.registry.registration import register
from flows.cli.fleet import Standing, fleet_table
from tests.components.registry.test_signatures import make_key
from tests.flows.conftest import invoke
from tests.releases import NAMES, finished_profile
from tests.root import ROOT


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Three listed profiles: one with a champion, one that is not valid, one without a file."""
    workspace = finished_profile(tmp_path)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    (tmp_path / "params.yaml").write_text("profiles: {demo: {}, broken: {}, absent: {}}\n")
    (tmp_path / "profiles" / "broken.yaml").write_text("seed: none of your business\n")
    monkeypatch.setenv("SAFEREACT_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return workspace


def test_what_is_wrong_with_one_profile_is_its_line(fleet: Workspace):
    register(fleet, **NAMES)
    registry = Registry(fleet.root)
    promote(registry, NAMES["name"], by="ann", why="evidence is good")
    (look,) = looks_of(registry, NAMES["name"])
    watched = replace(look, evidence="f" * 64, outcome="measured again: no drift")
    record_look(registry, NAMES["name"], NAMES["experiment"], watched)  # decides nothing
    done = invoke("status", "--json")
    assert done.returncode == 1
    rows = {row.pop("profile"): row for row in json.loads(done.stdout)}
    assert list(rows) == ["absent", "broken", "demo"]
    demo = rows["demo"]
    assert (demo["model"], demo["champion"], demo["decision"]) == (NAMES["name"], "1", "accepted")
    assert demo["champion_since"] >= demo["decided"] and demo["problems"] == []
    for name, word in (("absent", "unknown profile"), ("broken", "seed")):
        (problem,) = rows[name]["problems"]
        assert word in problem and rows[name]["champion"] is None

    one = json.loads(invoke("status", "--profile", "demo", "--json").stdout)
    assert [row["profile"] for row in one] == ["demo"]
    (fleet.root / "params.yaml").write_text("profiles: {demo: {}}\n")
    assert invoke("status", "--all").returncode == 0
    for name, word in (("broken", "does not list broken"), ("nope", "unknown profile 'nope'")):
        refused = invoke("status", "--profile", name, "--json")
        assert refused.returncode == 2 and word in refused.stderr and refused.stdout == ""


def test_a_damaged_signature_is_told_in_the_line_and_is_no_problem_of_it(
    fleet: Workspace, tmp_path: Path
):
    """As `status` of one profile tells of it."""
    (fleet.root / "params.yaml").write_text("profiles: {demo: {}}\n")
    register(fleet, **NAMES)
    (fleet.root / "mlflow" / "keys").mkdir(parents=True, exist_ok=True)
    shutil.copy(make_key(tmp_path / "ann", "ann")[1], fleet.root / "mlflow" / "keys")
    registry, damaged = Registry(fleet.root), tmp_path / "other.json"
    damaged.write_text("{")
    registry.add_file(registry.version(NAMES["name"], "1"), damaged, SIGNATURES)
    done = invoke("status", "--json")
    ((row,), told) = json.loads(done.stdout), "version 1: a signature is there and cannot be read"
    assert done.returncode == 0 and row["problems"] == [] and told in row["notes"][0]
    shown = " ".join(invoke("status", "--all").stdout.replace("│", " ").split())
    assert shown.count("a signature is there") == 1, shown


@pytest.mark.parametrize("asked", [(), ("--all",), ("--json",)])
def test_no_profile_at_all_does_not_look_as_if_all_was_well(fleet: Workspace, asked):
    (fleet.root / "params.yaml").write_text("profiles: {}\n")
    done = invoke("status", *asked)
    assert done.returncode == 2 and "lists no profile" in done.stderr and not done.stdout
    nameless = invoke("status", "--profile", "", *asked)  # a variable that was not set
    assert nameless.returncode == 2 and "unknown profile ''" in nameless.stderr


def test_a_registry_that_does_not_answer_is_said_in_each_line(
    fleet: Workspace, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    done = invoke("status", "--json")
    assert done.returncode == 1
    rows = {row["profile"]: row for row in json.loads(done.stdout)}
    assert rows["demo"]["problems"] and len(rows) == 3


def test_the_table_has_ages_and_fits_a_terminal():
    since, decided = "2026-01-01T00:00:00+00:00", "2026-02-27T00:00:00+00:00"
    screen = StringIO()
    rows = (
        Standing("a-profile-of-some-length", "m", "12", since, "rejected", decided),
        Standing(
            *("watched", "m", "3", since, "accepted", decided),
            *("drift", "2026-03-01T00:00:00+00:00"),
        ),
        Standing("new", "m", None, None, "inconclusive", "2026-03-01T05:00:00+00:00"),
        Standing("bad", problems=("the registry at somewhere does not answer; " * 3,)),
    )
    Console(width=80, file=screen).print(fleet_table(rows, datetime(2026, 3, 2, tzinfo=UTC)))
    printed = screen.getvalue().splitlines()
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed]
    assert ["a-profile-of-some-length", "version 12", "60 d", "rejected, 3 d ago"] in lines
    assert ["new", "none", "", "inconclusive, 19 h ago"] in lines
    assert "watch: drift, 24 h ago" in " ".join(line[-1] for line in lines if line)
    assert max(map(len, printed)) <= 80
