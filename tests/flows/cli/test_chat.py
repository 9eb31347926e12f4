"""`safereact chat`: lines from a terminal and from a pipe, on the random pair."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from components.evaluate.result import Evidence
from components.gate.result import Decision
from components.models.result import Models
from components.registry import answering
from components.registry.answering import Usable
from flows.cli import commands
from flows.cli.answering import check_answered
from tests.adapters import write_adapter
from tests.checkpoints import write_checkpoint
from tests.releases import NAMES, finished_profile

NAME = f"{NAMES['name']}@candidate"


@pytest.fixture(scope="module")
def version(tmp_path_factory) -> Usable:
    """A made-up version on the random model, in a repository of its own."""
    root = tmp_path_factory.mktemp("made")
    (root / "dvc.yaml").touch()
    workspace = finished_profile(root)
    model = write_checkpoint(root / "model")
    write_adapter(root / "adapter", model, seed=1, zero=False)
    return Usable(
        "1",
        root / "adapter",
        model,
        Models.load(workspace.stage("models")),
        Evidence.load(workspace.stage("evaluate")),
        Decision.load(workspace.stage("gate")),
    )


@pytest.fixture
def chatting(version, monkeypatch):
    """A function that gives lines to the command."""
    monkeypatch.setattr(answering, "bring_version", lambda *_: version)
    monkeypatch.setenv("SAFEREACT_ROOT", str(version.model.parent))

    def give(lines):
        words = ["chat", NAME, "--max-new-tokens", "2"]
        return CliRunner().invoke(commands.app, words, input=lines)

    return give


def test_each_line_of_a_pipe_is_answered_by_both_models(chatting):
    done = chatting("how do i open a jar ?\n\nwhat is a lamp ?")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("post-trained:") == done.stdout.count("restored:") == 2


def test_a_line_that_is_not_answered_is_no_success_and_the_others_are_answered(chatting):
    done = chatting(f"{'lamp ' * 600}\nwhat is a lamp ?\n")
    assert done.exit_code == 1
    assert done.stdout.count("restored:") == 1 and "shorten it" in done.stdout
    assert "1 of 2 lines were not answered" in done.stderr


@pytest.mark.parametrize("lines", ["", "\n \n"])
def test_a_pipe_without_a_line_is_no_success(chatting, lines):
    done = chatting(lines)
    assert done.exit_code == 1 and "nothing was asked" in done.stderr


@pytest.mark.parametrize("answered", [[], [False], [True]])
def test_a_person_has_seen_it_and_leaves(monkeypatch, answered):
    monkeypatch.setattr("flows.cli.answering.somebody_answers", lambda: True)
    check_answered(answered)
