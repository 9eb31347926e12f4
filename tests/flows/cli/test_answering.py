"""What follows an alias: another version, one that cannot be used, and none."""

from __future__ import annotations

import pytest

from components.core.errors import RegistryError
from components.core.paths import Workspace
from components.models.result import Models
from components.registry import answering
from components.registry.delivery import find_version
from components.registry.mlflow_registry import CHAMPION, EVIDENCE, Registry
from components.registry.promotion import promote, rollback, withdraw
from components.registry.registration import register
from components.registry.verification import verify_version
from flows.cli.answering import Followed
from tests.releases import NAMES, write_all

pytestmark = pytest.mark.slow  # servers that follow an alias

NAME = NAMES["name"]
SIGNED = {"by": "ann", "why": "evidence"}


@pytest.fixture
def registry(project: Workspace) -> Registry:
    """A registry with two versions, the first of them champion."""
    for weight in (1, 2):
        register(write_all(project, weight=weight), **NAMES)
    registry = Registry(project.root)
    promote(registry, NAME, "1", **SIGNED)
    return registry


@pytest.fixture
def bringing(monkeypatch) -> None:
    """The model of the made-up versions is not there to be found."""

    def bring(registry, name, alias, folder):
        version = find_version(registry, name, alias)
        found = verify_version(registry, version, folder)
        models = Models.load(folder / EVIDENCE)
        return answering.Usable(
            version.number, found.adapter, folder, models, found.evidence, found.decision
        )

    monkeypatch.setattr(answering, "bring_version", bring)


@pytest.fixture
def followed(registry, bringing, tmp_path) -> Followed:
    """A version under `champion`."""
    (tmp_path / "versions").mkdir()
    return Followed(registry, NAME, CHAMPION, tmp_path / "versions")


def test_an_alias_is_followed_to_and_fro(followed, registry):
    first = followed.version
    assert first.number == "1" and not followed.moved()
    promote(registry, NAME, "2", **SIGNED)
    assert followed.moved() and followed.version.number == "2"
    assert followed.version.adapter != first.adapter and first.adapter.is_dir()
    assert not followed.moved()
    rollback(registry, NAME, **SIGNED)
    assert followed.moved() and followed.version.number == "1"


def test_what_was_taken_out_of_use_is_not_used_on(followed, registry):
    withdraw(registry, NAME, CHAMPION, **SIGNED)
    with pytest.raises(RegistryError, match="was withdrawn"):
        followed.moved()


def test_a_version_that_cannot_be_relied_on_is_said_once_and_not_used(followed, registry, capsys):
    promote(registry, NAME, "2", **SIGNED)
    registry.set_version_tag(registry.version(NAME, "2"), "evidence_digest", "0" * 64)
    assert [followed.moved(), followed.moved()] == [False, False]
    assert followed.version.number == "1"
    assert capsys.readouterr().out.count("version 1 stays") == 1


def test_a_version_that_could_not_be_brought_once_is_brought_at_the_next_look(
    followed, registry, monkeypatch, tmp_path
):
    def cut_off(*_):
        raise RegistryError("MLflow does not answer")

    promote(registry, NAME, "2", **SIGNED)
    with monkeypatch.context() as patched:
        patched.setattr(answering, "bring_version", cut_off)
        assert not followed.moved()
    assert len(list((tmp_path / "versions").iterdir())) == 1  # nothing half brought is left
    assert followed.moved() and followed.version.number == "2"


def test_a_withdrawn_version_does_not_stay_for_want_of_another(followed, registry):
    withdraw(registry, NAME, CHAMPION, **SIGNED)
    promote(registry, NAME, "2", **SIGNED)
    registry.set_version_tag(registry.version(NAME, "2"), "evidence_digest", "0" * 64)
    with pytest.raises(RegistryError, match="version 1 was withdrawn"):
        followed.moved()


def test_a_version_that_is_named_by_its_number_is_not_used_on_either(registry, bringing, tmp_path):
    """Its number never moves, so nothing else would tell."""
    (tmp_path / "numbered").mkdir()
    numbered = Followed(registry, NAME, "2", tmp_path / "numbered")
    assert not numbered.moved()
    withdraw(registry, NAME, "2", **SIGNED)
    with pytest.raises(RegistryError, match="version 2 was withdrawn"):
        numbered.moved()


def test_a_history_that_is_not_whole_is_said_once(followed, registry, capsys):
    registry.set_tag(NAME, "ledger.000009", "{}")
    assert [followed.moved(), followed.moved()] == [False, False]
    assert capsys.readouterr().out.count("version 1 stays") == 1


def test_a_registry_that_is_away_is_waited_for(followed, registry, monkeypatch, capsys):
    def away(*_):
        raise RegistryError("MLflow does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(type(registry), "model", away)
        assert not followed.moved()
    assert "does not answer" in capsys.readouterr().out
    assert followed.version.number == "1" and not followed.moved()
