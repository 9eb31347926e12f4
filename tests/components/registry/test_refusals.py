"""Versions that people turn down: rejected candidates, and versions withdrawn for what they do."""

from __future__ import annotations

import pytest

from components.core.errors import RegistryError
from components.registry import history
from components.registry.changes import (
    REJECTED,
    WITHDRAWN,
    chain_of,
)
from components.registry.delivery import fetch_champion, publish, pull
from components.registry.history import check_history
from components.registry.mlflow_registry import CANDIDATE, CHAMPION, Registry
from components.registry.mlflow_runs import LoggedModel
from components.registry.promotion import promote, reject, rollback, withdraw
from components.registry.registration import register
from components.registry.status import status
from tests.releases import NAMES, write_all

NAME = NAMES["name"]
ANN = {"by": "ann", "why": "better"}
EVE = {"by": "eve", "why": "it does harm"}


def events(registry: Registry) -> list[tuple[str, str]]:
    return [(one.event, one.version) for one in chain_of(registry.model(NAME).tags).changes]


def aliases(registry: Registry) -> dict[str, str]:
    return registry.model(NAME).aliases


def test_a_sole_champion_is_withdrawn_and_nothing_brings_it_back_unasked(
    registered, registry, tmp_path
):
    promote(registry, NAME, **ANN)
    change = withdraw(registry, NAME, CHAMPION, **EVE)
    assert (change.event, change.version, change.previous) == (WITHDRAWN, "1", "1")
    assert aliases(registry) == {}
    with pytest.raises(
        RegistryError, match=r"no champion: version 1 was withdrawn by eve .*: 'it do"
    ):
        pull(registry, NAME, CHAMPION, tmp_path / "out")
    with pytest.raises(RegistryError, match=r"no earlier champion .*version 1 was withdrawn by ev"):
        rollback(registry, NAME, **ANN)
    with pytest.raises(RegistryError, match=r"version 1 was withdrawn by eve.* no candidate"):
        register(registered, **NAMES)
    with pytest.raises(RegistryError, match=r"withdrawn by eve .*: 'it does harm'.*--despite 2"):
        promote(registry, NAME, "1", **ANN)
    with pytest.raises(RegistryError, match="--despite 2"):
        promote(registry, NAME, "1", **ANN, despite=1)
    assert aliases(registry) == {}
    (champion,) = status(registry, NAME)
    assert (champion.alias, champion.version, champion.problems) == (CHAMPION, None, ())
    assert champion.change == change
    assert fetch_champion(registry, NAME, registered.champion, own="")


def test_whoever_names_the_withdrawal_promotes_all_the_same(registered, registry, tmp_path):
    promote(registry, NAME, **ANN)
    refused = withdraw(registry, NAME, "1", **EVE)
    again = promote(registry, NAME, "1", by="ann", why="a false alarm", despite=refused.number)
    assert again.despite == str(refused.number) == "2"
    assert pull(registry, NAME, CHAMPION, tmp_path / "out") == "1"
    assert promote(registry, NAME, "1", **ANN) == again
    assert register(registered, **NAMES).version == "1"
    assert aliases(registry) == {CHAMPION: "1", CANDIDATE: "1"}
    assert withdraw(registry, NAME, "1", **EVE).number == 4


def test_what_nobody_refused_needs_no_such_word(three_versions, registry):
    withdraw(registry, NAME, "2", **EVE)
    with pytest.raises(RegistryError, match="version 1 is neither rejected nor withdrawn"):
        promote(registry, NAME, "1", **ANN, despite=1)
    assert CHAMPION not in aliases(registry)


def test_a_rollback_passes_what_was_withdrawn(three_versions, registry):
    for number in ("1", "2", "3"):
        promote(registry, NAME, number, **ANN)
    withdraw(registry, NAME, "2", **EVE)
    assert aliases(registry)[CHAMPION] == "3"
    assert rollback(registry, NAME, **ANN).version == "1"
    for number in ("2", "3"):
        promote(registry, NAME, number, **ANN, **({"despite": 4} if number == "2" else {}))
    withdraw(registry, NAME, "2", **EVE)
    withdraw(registry, NAME, "3", **EVE)
    assert aliases(registry) == {}
    despite = chain_of(registry.model(NAME).tags).changes[-2].number
    change = rollback(registry, NAME, by="ann", why="the lesser evil", despite=despite)
    assert (change.version, change.despite) == ("2", str(despite))
    assert aliases(registry) == {CHAMPION: "2"}


def test_a_withdrawn_adapter_is_withdrawn_under_every_number(registered, registry):
    """The same bytes with other evidence do the same harm."""
    version = registry.version(NAME, "1")
    logged = LoggedModel(version.logged_model, registry.oldest_run(NAME))
    assert registry.create_version(NAME, logged, version.tags, "again") == "2"
    promote(registry, NAME, "2", **ANN)
    withdraw(registry, NAME, "1", **EVE)
    assert aliases(registry) == {}
    for number in ("1", "2"):
        with pytest.raises(RegistryError, match=rf"version {number} was withdrawn by eve"):
            promote(registry, NAME, number, **ANN)


def test_a_rejected_candidate_is_none_any_more(three_versions, registry, tmp_path):
    promote(registry, NAME, "1", **ANN)
    change = reject(registry, NAME, CANDIDATE, **EVE)
    assert (change.event, change.version) == (REJECTED, "3")
    assert aliases(registry) == {CHAMPION: "1"}
    with pytest.raises(RegistryError, match="has no candidate"):
        promote(registry, NAME, **ANN)
    with pytest.raises(RegistryError, match=r"rejected by eve.*--despite 2"):
        promote(registry, NAME, "3", **ANN)
    with pytest.raises(RegistryError, match=r"rejected by eve.* no candidate"):
        register(write_all(three_versions, weight=3), **NAMES)
    with pytest.raises(RegistryError, match=r"version 1 is champion.*safereact withdraw .*@1"):
        reject(registry, NAME, "1", **EVE)
    assert pull(registry, NAME, CHAMPION, tmp_path / "out") == "1"
    registry.set_alias(NAME, CANDIDATE, "3")  # by hand
    with pytest.raises(RegistryError, match=r"rejected by eve.* no candidate"):
        pull(registry, NAME, CANDIDATE, tmp_path / "third")
    assert status(registry, NAME)[1].problems
    assert reject(registry, NAME, "3", by="ann", why="again") == change
    assert events(registry) == [("promoted", "1"), ("rejected", "3")]
    assert aliases(registry) == {CHAMPION: "1"}
    assert withdraw(registry, NAME, "3", **EVE).event == WITHDRAWN


@pytest.mark.parametrize("turn_down", [reject, withdraw])
def test_a_refusal_has_a_name_a_reason_and_a_version(registered, registry, turn_down):
    with pytest.raises(RegistryError, match="say who"):
        turn_down(registry, NAME, "1", by=" ", why="x")
    with pytest.raises(RegistryError, match="has no version '7'"):
        turn_down(registry, NAME, "7", **EVE)
    with pytest.raises(RegistryError, match="no alias 'champion'; it has: candidate"):
        turn_down(registry, NAME, CHAMPION, **EVE)
    assert events(registry) == [] and aliases(registry) == {CANDIDATE: "1"}


STEPS = ("claim", "set_tag", "set_alias")


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("next_call", ["the same", "another"])
def test_a_withdrawal_killed_at_any_step_is_completed_or_leaves_nothing(
    three_versions, registry, monkeypatch, tmp_path, step, done, next_call
):
    """Of champion and candidate at once, which are two aliases."""
    promote(registry, NAME, "1", **ANN)
    promote(registry, NAME, "3", **ANN)
    call = getattr(Registry, step)

    def killed(self, *arguments):
        if done:
            call(self, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Registry, step, killed)
        with pytest.raises(KeyboardInterrupt):
            withdraw(registry, NAME, "3", **EVE)
    monkeypatch.setattr(history, "_PATIENCE", 0)
    unwritten = (step, done) == ("claim", False)
    if step == "set_alias" or unwritten:  # the tag is there, or nothing is
        try:
            assert (pull(registry, NAME, CHAMPION, tmp_path / "out") == "3") is unwritten
        except RegistryError:
            assert not unwritten
    if next_call == "the same":
        assert withdraw(registry, NAME, "3", **EVE).version == "3"
        assert aliases(registry) == {}
    else:
        assert promote(registry, NAME, "2", **ANN).version == "2"
        assert aliases(registry) == {CHAMPION: "2"} | ({CANDIDATE: "3"} if unwritten else {})
    assert events(registry).count(("withdrawn", "3")) == (next_call == "the same" or not unwritten)
    check_history(registry.model(NAME))


def test_who_registers_while_somebody_withdraws_gets_no_candidate(
    registered, registry, monkeypatch
):
    withdraw(registry, NAME, "1", **EVE)
    promote(registry, NAME, "1", **ANN, despite=1)
    done = Registry.set_alias

    def first_another(self, *arguments):
        patch.undo()
        withdraw(registry, NAME, "1", **EVE)
        done(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "set_alias", first_another)
        with pytest.raises(RegistryError, match="withdrawn by eve"):
            register(registered, **NAMES)
    assert aliases(registry) == {}


def test_what_was_withdrawn_is_brought_with_a_word_and_not_published(
    registered, registry, tmp_path, caplog
):
    pull(registry, NAME, "1", tmp_path / "before")
    assert caplog.messages == []
    withdraw(registry, NAME, "1", **EVE)
    pull(registry, NAME, "1", tmp_path / "after")
    (said,) = caplog.messages
    assert said.startswith(f"{NAME} version 1 was withdrawn by ")
    with pytest.raises(RegistryError, match=f"{NAME} version 1 is not published: it was withdrawn"):
        publish(registry, NAME, "1", "team/demo")


def test_an_empty_number_is_no_candidate(three_versions, registry):
    """As a variable of a shell that was not set leaves it."""
    for number in ("", " ", "9" * 30, "one"):
        with pytest.raises(RegistryError, match="has no version"):
            promote(registry, NAME, number, by="ann", why="reviewed")
    assert registry.model(NAME).aliases.keys() == {"candidate"}
