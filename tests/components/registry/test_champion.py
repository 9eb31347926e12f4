"""The champion between registry and evaluation."""

from __future__ import annotations

import shutil

import pytest

from components.core.errors import EvidenceError
from components.core.paths import KEEP, POLICIES
from components.core.storage import digest_folder
from components.evaluate.result import Champion, Released
from components.registry.delivery import _is_current, fetch_champion
from components.registry.promotion import promote, rollback
from components.registry.registration import register
from components.train.result import Adapter
from tests.evidence import CONTRACT, digest_of
from tests.releases import NAMES, write_all, write_result
from tests.tracking import figures_of

NAME = "demo-safety"
SIGNED = {"by": "ann", "why": "better"}
RULE = {"name": "as good", "against": "champion", "at_least": None, "margin": 0.02}

BESIDE = """
  - name: as good
    metric: harmful.refused
    arm: restored
    against: champion
    margin: 0.05
    min_n: 100
"""

# --- fetched from the registry ---------------------------------------------------------------


def own_of(workspace) -> str:
    return Adapter.load(workspace.stage("train")).digest


def fetch(registry, workspace, own=None) -> bool:
    own = own_of(workspace) if own is None else own
    return fetch_champion(registry, NAME, workspace.champion, own=own)


@pytest.mark.parametrize(
    ("digest", "own", "current"),
    [(None, "", True), (None, "a", True), ("a", "a", True), ("b", "a", False), ("", "", False)],
)
def test_no_champion_stays_none_until_there_is_another_adapter(tmp_path, digest, own, current):
    """Before a training, `own` is empty, as is the digest of a version that was made by hand."""
    Champion(name=NAME, released=None).save(tmp_path)
    assert _is_current(tmp_path, NAME, digest, own) is current


def test_no_champion_is_written_down(workspace, registry):
    assert fetch(registry, workspace)
    assert Champion.load(workspace.champion).released is None
    assert not fetch(registry, workspace)
    register(workspace, **NAMES)  # a candidate is no champion
    assert not fetch(registry, workspace)
    assert sorted(p.name for p in workspace.champion.iterdir()) == [KEEP, "champion.json"]


def test_the_champion_comes_with_what_it_belongs_to(registered, registry):
    promote(registry, NAME, **SIGNED)
    assert fetch(registry, registered, own="")
    champion = Champion.load(registered.champion)
    assert champion.released == Released(
        version="1",
        digest=own_of(registered),
        base_model=digest_of("post-trained"),
        contract=CONTRACT,
    )
    assert digest_folder(champion.adapter) == champion.released.digest
    assert not fetch(registry, registered, own="")
    (champion.adapter / "adapter_config.json").write_text("{}")
    assert fetch(registry, registered, own=""), "changed files were kept"
    assert digest_folder(champion.adapter) == champion.released.digest
    (registered.champion / "champion.json").write_text('{"name": "of an earlier form"}')
    assert fetch(registry, registered, own=""), "a file of another form was in the way"
    assert Champion.load(registered.champion) == champion


def test_an_adapter_that_becomes_champion_itself_changes_nothing(workspace, registry):
    fetch(registry, workspace)
    register(workspace, **NAMES)
    promote(registry, NAME, **SIGNED)
    assert not fetch(registry, workspace)
    assert Champion.load(workspace.champion).released is None

    write_all(workspace, weight=2)
    assert fetch(registry, workspace)
    assert Champion.load(workspace.champion).released.version == "1"
    register(workspace, **NAMES)
    promote(registry, NAME, **SIGNED)
    assert not fetch(registry, workspace)
    assert Champion.load(workspace.champion).released.version == "1"


def test_another_registered_model_is_asked_anew(workspace, registry):
    fetch(registry, workspace)
    assert fetch_champion(registry, "other-safety", workspace.champion, own="")
    assert Champion.load(workspace.champion).name == "other-safety"


# --- bound to the decision -------------------------------------------------------------------


@pytest.fixture
def measured(workspace, registry):
    """The workspace, with a profile and a policy that compare with the champion."""
    profile, policy = workspace.profile_file, workspace.root / POLICIES / "default.yaml"
    profile.write_text(profile.read_text().replace("\nevaluate:", "\nevaluate:\n  champion: true"))
    policy.write_text(policy.read_text() + BESIDE)
    return workspace


def trained_anew(workspace, registry, weight):
    """Let the chain have run on another adapter, beside the champion of today."""
    shutil.rmtree(workspace.stage("train"))
    write_result("train", workspace, weight=weight)
    fetch(registry, workspace)
    write_all(workspace, weight=weight, policy=workspace.root / POLICIES / "default.yaml")


def test_a_champion_that_changed_since_makes_the_decision_stale(measured, registry):
    workspace = measured
    trained_anew(workspace, registry, 1)
    first = own_of(workspace)
    register(workspace, **NAMES)
    promote(registry, NAME, **SIGNED)
    assert not register(workspace, **NAMES).new  # it is champion itself

    write_all(workspace, weight=2, policy=workspace.root / POLICIES / "default.yaml")
    message = rf"champion \(none yet\) is not the champion here \({first[:12]}\).*`safereact run`"
    with pytest.raises(EvidenceError, match=message):
        register(workspace, **NAMES)
    trained_anew(workspace, registry, 2)
    again = register(workspace, **NAMES)
    assert again.version == "2"
    tags = registry.version(NAME, "2").tags
    assert tags["looks"].startswith("look 3 "), "what was refused was a look, too"

    trained_anew(workspace, registry, 3)
    register(workspace, **NAMES)
    promote(registry, NAME, "3", **SIGNED)
    with pytest.raises(EvidenceError, match="decision's champion"):
        promote(registry, NAME, "2", **SIGNED)
    assert rollback(registry, NAME, **SIGNED).version == "1"


def test_a_registered_version_names_whom_it_was_compared_with(measured, registry, tmp_path):
    trained_anew(measured, registry, 1)
    register(measured, **NAMES)
    promote(registry, NAME, **SIGNED)
    first = own_of(measured)
    trained_anew(measured, registry, 2)
    register(measured, **NAMES)
    version = registry.version(NAME, "2")
    assert version.tags["champion"] == f"demo-safety version 1, adapter {first[:12]}"
    assert "champion/harmful.refused" in figures_of(registry, version)
    registry.fetch(version, tmp_path / "all")
    card = (tmp_path / "all" / "evidence" / "model_card.md").read_text()
    assert "| restored | sft-baseline | champion |" in card


def test_a_decision_that_compared_with_nobody_does_not_ask(registered, registry):
    promote(registry, NAME, **SIGNED)
    write_all(registered, weight=2)
    assert register(registered, **NAMES).version == "2"
