"""Folders of a profile, and how the repository is found."""

from __future__ import annotations

import pytest

from components.errors import ConfigError
from components.workspace import find_root, open_workspace


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.delenv("SAFEREACT_ROOT", raising=False)
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
