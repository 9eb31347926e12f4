"""Folders of a profile, and how the repository is found."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.errors import ConfigError
from components.core.paths import PROFILE_NAME, Workspace, find_root, open_workspace, read_lists


@pytest.fixture
def repository(tmp_path, monkeypatch):
    for name in ("SAFEREACT_ROOT", "DVC_STAGE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "mine.yaml").write_text("")
    (tmp_path / "dvc.yaml").write_text("")
    return tmp_path


def test_the_root_is_found_from_below(repository):
    (repository / "a" / "b").mkdir(parents=True)
    assert find_root(repository / "a" / "b") == repository


def test_the_environment_names_the_root(repository, monkeypatch, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.setenv("SAFEREACT_ROOT", str(repository))
    assert find_root(elsewhere) == repository
    monkeypatch.setenv("SAFEREACT_ROOT", str(elsewhere))
    with pytest.raises(ConfigError, match="SAFEREACT_ROOT"):
        find_root(repository)


def test_what_dvc_runs_works_where_dvc_runs_it(repository, monkeypatch, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy")
    (copy / "profiles").mkdir()
    (copy / "dvc.yaml").write_text("")
    monkeypatch.setenv("SAFEREACT_ROOT", str(repository))
    monkeypatch.setenv("DVC_STAGE", "train@mine")
    monkeypatch.chdir(copy)
    assert find_root() == copy


def test_a_relative_root_stays_where_it_is_when_the_folder_changes(repository, monkeypatch):
    monkeypatch.chdir(repository.parent)
    monkeypatch.setenv("SAFEREACT_ROOT", repository.name)
    assert find_root() == repository


def test_lists_of_profiles(repository):
    file = Workspace(repository, "mine").parameters
    file.write_text("profiles: {mine: {prompts: a, checkpoints: b}, yours: }\ncompared: {mine: {}}")
    mine = {"prompts": "a", "checkpoints": "b"}
    assert read_lists(file) == {
        "profiles": {"mine": mine, "yours": {}},
        "compared": {"mine": {}},
    }
    assert Workspace(repository, "mine").entry == mine
    assert Workspace(repository, "other").entry is None


@given(st.text(min_size=1).filter(lambda name: not PROFILE_NAME.fullmatch(name)))
def test_no_other_name_is_taken(name):
    with TemporaryDirectory() as folder:
        file = Path(folder) / "params.yaml"
        file.write_text(json.dumps({"compared": {name: {}}}), encoding="utf-8")
        with pytest.raises(ConfigError):
            read_lists(file)


@pytest.mark.parametrize(
    "text", ["profiles: [mine]", "profiles: {mine: there}", "profiles: {mine: {prompts: 3}}"]
)
def test_lists_of_another_form_are_errors(repository, text):
    file = Workspace(repository, "mine").parameters
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"params\.yaml: profiles"):
        read_lists(file)


def test_outside_a_repository_is_an_error(tmp_path, monkeypatch):
    monkeypatch.delenv("SAFEREACT_ROOT", raising=False)
    with pytest.raises(ConfigError, match="not in a SafeReAct-Ops repository"):
        find_root(tmp_path)


@pytest.mark.parametrize("name", ["yours", "", "../mine", "Mine", "mine/../mine", ".hidden"])
def test_an_unknown_profile_is_refused_with_those_there_are(repository, name):
    with pytest.raises(ConfigError, match=r"unknown profile .*profiles/ holds: mine"):
        open_workspace(name, repository)


def test_folders_of_the_stages(repository):
    workspace = open_workspace("mine", repository)
    assert workspace.stage("prepare") == repository / "data" / "prepared" / "mine"
    assert workspace.stage("train") == repository / "artifacts" / "mine" / "train"
