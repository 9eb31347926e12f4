"""The history against those who can write to the store: broken links, and what signatures hold."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from components.core.errors import ConfigError, EvidenceError, RegistryError
from components.registry.changes import HISTORY, PREFIX, PROMOTED, chain_in, chain_of, encode
from components.registry.delivery import fetch_champion, pull, sign
from components.registry.mlflow_registry import CHAMPION, SIGNATURES, Registry
from components.registry.mlflow_runs import LoggedModel
from components.registry.promotion import promote, rollback, withdraw
from components.registry.signatures import (
    known_keys,
    open_signer,
    passed_over,
    pinned_keys,
    read_public_key,
)
from components.registry.status import status
from components.registry.verification import check_history_beside, signed_history
from tests.components.registry.test_signatures import make_key
from tests.releases import NAMES

NAME = NAMES["name"]
ANN = {"by": "ann", "why": "better"}


@pytest.fixture
def ann(tmp_path, workspace):
    """The files of a key whose public half is in the repository."""
    private, public = make_key(tmp_path / "keys", "ann")
    (workspace.root / "mlflow" / "keys").mkdir()
    shutil.copy(public, workspace.root / "mlflow" / "keys")
    return private, public


@pytest.fixture
def two_champions(three_versions, registry):
    """Version 1 was champion, and version 2 is."""
    for number in ("1", "2"):
        promote(registry, NAME, number, **ANN)
    return registry


def readers(registry: Registry):
    """Return what reads the history, by name."""
    return {
        "promote": lambda: promote(registry, NAME, "3", **ANN),
        "rollback": lambda: rollback(registry, NAME, **ANN),
        "withdraw": lambda: withdraw(registry, NAME, "2", **ANN),
        "history": lambda: signed_history(registry, NAME),
    }


def forge(registry: Registry, *versions: str) -> None:
    """Write a whole history anew, with all its links and without what was claimed."""
    model = registry.model(NAME)
    registry._client.delete_run(registry.oldest_run(NAME))
    for key in (key for key in model.tags if key.startswith(PREFIX)):
        registry._client.delete_registered_model_tag(NAME, key)
    tags: dict[str, str] = {}
    first = chain_of(model.tags).changes[0]
    for version in versions:
        adapter = registry.version(NAME, version).adapter
        change = replace(first, event=PROMOTED, version=version, adapter=adapter, by="mallory")
        key, text = encode(chain_of(tags).extended(change))
        tags[key] = text
        registry.set_tag(NAME, key, text)
    registry.set_alias(NAME, CHAMPION, versions[-1])


@pytest.mark.parametrize("number", [1, 2])
def test_a_change_that_was_rewritten_in_the_store_is_named(two_champions, workspace, number):
    registry, key = two_champions, f"{PREFIX}{number:06d}"
    text = registry.model(NAME).tags[key]
    registry.set_tag(NAME, key, text.replace('"ann"', '"eve"'))
    named = key if number == 2 else rf"({key} was rewritten|{PREFIX}000002 was not written after)"
    calls = readers(registry)
    for name in ("promote", "rollback", "withdraw"):
        with pytest.raises(RegistryError, match=rf"history of .* is broken: .*{named}"):
            calls[name]()
    if number == 1:  # whoever reads without asking what was claimed sees a broken link
        for read in (
            lambda: pull(registry, NAME, CHAMPION, workspace.root / "out"),
            lambda: fetch_champion(registry, NAME, workspace.champion, own=""),
            lambda: signed_history(registry, NAME),
        ):
            with pytest.raises(RegistryError, match=rf"broken: .*{named}"):
                read()
        assert any("broken" in problem for problem in status(registry, NAME)[0].problems)
    registry.set_tag(NAME, key, text)
    assert rollback(registry, NAME, **ANN).version == "1"


def test_a_history_written_anew_is_found_out_by_a_signature(
    two_champions, workspace, ann, tmp_path
):
    registry, (private, public) = two_champions, ann
    sign(registry, NAME, "3", open_signer(str(private), None))
    forge(registry, "3", "2")
    keys = {"ann": read_public_key(public)}
    for read in (
        *readers(registry).values(),
        lambda: pull(registry, NAME, "3", tmp_path / "out", keys=keys),
        lambda: sign(registry, NAME, CHAMPION, open_signer(str(private), None)),
    ):
        with pytest.raises(
            EvidenceError, match=r"history of demo-safety was rewritten: .* ann sig"
        ):
            read()
    assert "rewritten" in status(registry, NAME)[0].problems[0]


def test_a_history_that_was_cut_off_is_found_out_by_a_signature(two_champions, workspace, ann):
    registry = two_champions
    sign(registry, NAME, "1", open_signer(str(ann[0]), None))
    before = registry.model(NAME).tags
    forge(registry, "1")
    registry.set_tag(NAME, f"{PREFIX}000001", before[f"{PREFIX}000001"])  # as it was
    assert len(chain_of(registry.model(NAME).tags).changes) == 1
    with pytest.raises(EvidenceError, match=r"the 1 changes .* do not go on from those that ann"):
        rollback(registry, NAME, **ANN)


def test_without_the_key_in_the_repository_nobody_vouches(two_champions, workspace, tmp_path):
    """What no public key is known for is nobody's word, and a history written anew passes."""
    registry = two_champions
    private, _ = make_key(tmp_path / "keys", "ann")
    sign(registry, NAME, "3", open_signer(str(private), None))
    forge(registry, "1", "3")
    chain, heads, _ = signed_history(registry, NAME)
    assert heads == [] and [one.version for one in chain.changes] == ["1", "3"]


def test_a_history_goes_on_after_a_signature(two_champions, ann):
    registry, signer = two_champions, open_signer(str(ann[0]), None)
    sign(registry, NAME, CHAMPION, signer)
    assert promote(registry, NAME, "3", **ANN).version == "3"
    chain, (head,), broken = signed_history(registry, NAME)
    assert not broken
    assert (head.by, chain.digests.index(head.digest)) == ("ann", 2)
    sign(registry, NAME, CHAMPION, signer)
    chain, heads, _ = signed_history(registry, NAME)
    assert sorted(chain.digests.index(head.digest) for head in heads) == [2, 3]


def test_a_damaged_signature_vouches_for_nothing_and_is_told_from_none(
    two_champions, ann, workspace
):
    registry = two_champions
    sign(registry, NAME, CHAMPION, open_signer(str(ann[0]), None))
    keyid = read_public_key(ann[1]).keyid
    (envelope,) = workspace.root.rglob(f"{keyid}.json")
    envelope.write_bytes(envelope.read_bytes()[:-200])
    _, heads, (broken,) = signed_history(registry, NAME)
    assert heads == [] and broken.startswith("version 2: a signature is there and cannot be read")
    assert promote(registry, NAME, "3", **ANN).version == "3"  # no policy asks for one
    sign(registry, NAME, "2", open_signer(str(ann[0]), None))
    _, heads, broken = signed_history(registry, NAME)
    assert [head.by for head in heads] == ["ann"] and not broken


@pytest.mark.parametrize("with_keys", [True, False])
def test_whoever_decides_is_told_of_a_damaged_signature_that_no_policy_asks_for(
    two_champions, ann, workspace, caplog, with_keys
):
    registry, signer = two_champions, open_signer(str(ann[0]), None)
    if not with_keys:
        shutil.rmtree(workspace.root / "mlflow" / "keys")
    for number in "123":  # by somebody whose key is not here
        version = registry.version(NAME, number)
        (workspace.root / "other.json").write_text("{")
        registry.add_file(version, workspace.root / "other.json", SIGNATURES)
    told = ["version 1: ", "version 2: ", "version 3: "] if with_keys else [""]
    for act in (
        lambda: sign(registry, NAME, "3", signer),
        lambda: promote(registry, NAME, "3", **ANN),
        lambda: rollback(registry, NAME, **ANN),
    ):
        caplog.clear()
        act()
        beginnings = [one.split("a signature is there and")[0] for one in caplog.messages]
        assert beginnings == told, caplog.messages
    notes = [one.notes for one in status(registry, NAME)]
    assert [len(one) for one in notes] == ([3, 3] if with_keys else [0, 0])


def test_a_key_of_another_ending_is_told_of_and_not_passed_over_in_silence(
    two_champions, ann, workspace, caplog
):
    registry, keys = two_champions, workspace.root / "mlflow" / "keys"
    (keys / "ann.pem").rename(keys / "ann.pub")
    (keys / "README.md").touch()
    passed = "mlflow/keys/ann.pub is passed over: public keys there end in .pem"
    assert passed_over(workspace.root) == [passed]
    sign(registry, NAME, CHAMPION, open_signer(str(ann[0]), None))
    assert passed in caplog.messages
    assert passed in signed_history(registry, NAME).damaged
    with pytest.raises(ConfigError, match=r"keys that are: none; not read.*: ann\.pub"):
        pinned_keys(workspace.root, ("ann",))
    (keys / "ann.pem").write_text("no key")
    for act in (lambda: known_keys(workspace.root), lambda: pinned_keys(workspace.root, ("ann",))):
        with pytest.raises(ConfigError, match=r"ann\.pem is not the PEM file of a public key"):
            act()
    shutil.rmtree(keys)
    keys.write_text("")
    with pytest.raises(ConfigError, match="keys is no folder"):
        known_keys(workspace.root)


def test_a_version_that_was_made_by_hand_is_in_nobodys_way(two_champions, ann, tmp_path):
    """It has no logged model, and so no place for signatures."""
    registry = two_champions
    registry._client.create_model_version(NAME, source=str(tmp_path))
    assert signed_history(registry, NAME)[1] == []
    assert rollback(registry, NAME, **ANN).version == "1"


def test_a_signature_about_another_models_history_is_none_about_this(registered, registry, ann):
    """Two registered models may have versions of the same files, with the same envelopes."""
    promote(registry, NAME, "1", **ANN)
    sign(registry, NAME, "1", open_signer(str(ann[0]), None))
    version = registry.version(NAME, "1")
    logged = LoggedModel(version.logged_model, registry.oldest_run(NAME))
    registry.create_version("other-safety", logged, version.tags, "")
    assert signed_history(registry, "other-safety")[1] == []


def test_another_adapter_under_the_number_of_a_champion_is_refused(
    two_champions, workspace, tmp_path
):
    """Tags, files and evidence agree, and it is not what was promoted."""
    registry = two_champions
    other = registry.version(NAME, "3")
    registry._client.set_model_version_tag(NAME, "1", "adapter_digest", other.adapter)
    with pytest.raises(RegistryError, match=r"version 1 has the adapter .* not the one that peo"):
        rollback(registry, NAME, **ANN)
    registry._client.set_model_version_tag(NAME, "2", "adapter_digest", other.adapter)
    with pytest.raises(RegistryError, match=r"version 2 has the adapter .* not the one that peo"):
        pull(registry, NAME, CHAMPION, tmp_path / "out")


# --- beside a version that was brought whole ---------------------------------------------------


@pytest.fixture
def brought(two_champions, ann, tmp_path):
    sign(two_champions, NAME, CHAMPION, open_signer(str(ann[0]), None))
    pull(two_champions, NAME, CHAMPION, tmp_path / "brought", whole=True)
    return tmp_path / "brought"


def check(folder, ann, adapter: str = "") -> str:
    return check_history_beside(folder, {"ann": read_public_key(ann[1])}, adapter)


def test_a_version_comes_with_its_history(brought, ann, two_champions):
    assert chain_in(brought) == (NAME, chain_of(two_champions.model(NAME).tags))
    assert "2 changes" in check(brought, ann)


def forged(document: dict, how: str) -> object:
    changes = document["changes"]
    first, last = sorted(changes)
    if how == "of another model":
        return document | {"model": "another"}
    if how == "cut off":
        return document | {"changes": {first: changes[first]}}
    if how == "rewritten":
        return document | {"changes": changes | {first: changes[first] | {"by": "eve"}}}
    if how == "removed":
        return document | {"changes": {last: changes[last]}}
    return document | {"changes": changes | {last: changes[last] | {"by": "eve"}}}


@pytest.mark.parametrize(
    ("how", "error", "named"),
    [
        ("of another model", EvidenceError, "was rewritten"),
        ("cut off", EvidenceError, "was rewritten"),
        ("rewritten at its end", EvidenceError, "was rewritten"),
        ("rewritten", RegistryError, "broken"),
        ("removed", RegistryError, "broken"),
    ],
)
def test_another_history_beside_it_is_found_out(brought, ann, how, error, named):
    file = brought / HISTORY
    file.write_text(json.dumps(forged(json.loads(file.read_text()), how)))
    with pytest.raises(error, match=named):
        check(brought, ann)


def test_that_nobody_signed_it_is_only_said_where_somebody_looked(brought, ann, tmp_path):
    _, other = make_key(tmp_path, "ben")
    said = [
        check_history_beside(brought, {"key": read_public_key(key)} if key else {}, "")
        for key in (ann[1], other, None)
    ]
    assert ["signed" in one for one in said] == [True, True, False]
    assert "not signed" in said[1] and "not signed" not in said[0]


def test_a_history_that_was_taken_away_is_missed(brought, ann):
    (brought / HISTORY).unlink()
    with pytest.raises(EvidenceError, match="0 changes of no model"):
        check(brought, ann)
    assert "no history" in check_history_beside(brought, {}, "")


def test_a_withdrawn_adapter_is_not_verified(two_champions, ann, tmp_path):
    change = withdraw(two_champions, NAME, CHAMPION, **ANN)
    pull(two_champions, NAME, "2", tmp_path / "out", whole=True)
    with pytest.raises(RegistryError, match=r"was withdrawn by ann .*: 'better', as version 2"):
        check(tmp_path / "out", ann, change.adapter)
