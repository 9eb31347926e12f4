"""The champion between registry, evaluation and gate."""

from __future__ import annotations

import shutil

import pytest

from components.core.errors import ConfigError, EvidenceError
from components.core.paths import KEEP, POLICIES
from components.core.storage import digest_folder
from components.core.vocabulary import Arm
from components.evaluate.result import NO_CHAMPION, Champion, ChampionArm, Released
from components.evaluate.settings import EvaluateSettings
from components.gate.checks import champion_behind, decide
from components.gate.policy import Policy
from components.gate.policy_files import check_fits, load_policy
from components.gate.result import Conclusion
from components.registry.champion import fetch_champion
from components.registry.promotion import promote, rollback
from components.registry.registration import register
from components.train.result import Adapter
from tests.components.gate.cases import difference, rule, wilson
from tests.evidence import CONTRACT, digest_of
from tests.releases import write_all, write_result

NAME = "demo-safety"
NAMES = {"name": NAME, "experiment": "safereact"}
SIGNED = {"by": "ann", "why": "better"}
RULE = {"name": "as good", "against": "champion", "at_least": None, "margin": 0.02}


# --- fetched from the registry ---------------------------------------------------------------


def own_of(workspace) -> str:
    return Adapter.load(workspace.stage("train")).digest


def fetch(registry, workspace, own=None) -> bool:
    own = own_of(workspace) if own is None else own
    return fetch_champion(registry, NAME, workspace.champion, own=own)


def test_no_champion_is_written_down(workspace, registry):
    assert fetch(registry, workspace)
    assert Champion.load(workspace.champion).released is None
    assert not fetch(registry, workspace)
    register(workspace, **NAMES)  # a candidate is no champion
    assert not fetch(registry, workspace)
    assert sorted(p.name for p in workspace.champion.iterdir()) == [KEEP, "champion.json"]


def test_the_champion_comes_with_what_it_belongs_to(workspace, registry):
    register(workspace, **NAMES)
    promote(registry, NAME, **SIGNED)
    assert fetch(registry, workspace, own="")
    champion = Champion.load(workspace.champion)
    assert champion.released == Released(
        version="1",
        digest=own_of(workspace),
        base_model=digest_of("post-trained"),
        contract=CONTRACT,
    )
    assert digest_folder(champion.adapter) == champion.released.digest
    assert not fetch(registry, workspace, own="")
    (champion.adapter / "adapter_config.json").write_text("{}")
    assert fetch(registry, workspace, own=""), "changed files were kept"
    assert digest_folder(champion.adapter) == champion.released.digest
    (workspace.champion / "champion.json").write_text('{"name": "of an earlier form"}')
    assert fetch(registry, workspace, own=""), "a file of another form was in the way"
    assert Champion.load(workspace.champion) == champion


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
    policy.write_text(policy.read_text() + BESIDE.replace("margin: 0.02", "margin: 0.05"))
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
    told = rf"champion \(none yet\) is not the champion here \({first[:12]}\).*`safereact run`"
    with pytest.raises(EvidenceError, match=told):
        register(workspace, **NAMES)
    trained_anew(workspace, registry, 2)
    assert register(workspace, **NAMES).version == "2"

    trained_anew(workspace, registry, 3)
    register(workspace, **NAMES)
    promote(registry, NAME, "3", **SIGNED)
    with pytest.raises(EvidenceError, match="decision's champion"):
        promote(registry, NAME, "2", **SIGNED)
    assert rollback(registry, NAME, **SIGNED).version == "1"


def test_a_registered_version_tells_whom_it_was_compared_with(measured, registry, tmp_path):
    trained_anew(measured, registry, 1)
    register(measured, **NAMES)
    promote(registry, NAME, **SIGNED)
    first = own_of(measured)
    trained_anew(measured, registry, 2)
    register(measured, **NAMES)
    version = registry.version(NAME, "2")
    assert version.tags["champion"] == f"demo-safety version 1, adapter {first[:12]}"
    assert registry.figures(version)["champion/harmful.refused.n"] == 100
    registry.fetch(version, tmp_path / "all")
    card = (tmp_path / "all" / "evidence" / "model_card.md").read_text()
    assert "| restored | sft-baseline | champion |" in card


def test_a_decision_that_compared_with_nobody_does_not_ask(workspace, registry):
    register(workspace, **NAMES)
    promote(registry, NAME, **SIGNED)
    write_all(workspace, weight=2)
    assert register(workspace, **NAMES).version == "2"


# --- in the gate -----------------------------------------------------------------------------


def met_by(adapter, **changes):
    released = Released(
        version="3", digest="c" * 64, base_model=adapter.base_model, contract=adapter.contract
    )
    return ChampionArm(name=NAME, released=released, **changes)


def against(evidence, adapter, models, prompts):
    policy = Policy(rules=(rule(), rule(**RULE)))
    found = decide(
        policy,
        evidence,
        adapter,
        models,
        prompts,
        adapter_files=adapter.digest,
        rows_file=evidence.rows,
    )
    return policy, [outcome for outcome in found if not outcome.passed]


def test_no_champion_yet_is_in_nobodys_way(good, adapter, models, prompts):
    evidence = good.model_copy(update={"champion": ChampionArm(name=NAME, released=None)})
    policy, found = against(evidence, adapter, models, prompts)
    assert found == []
    assert champion_behind(policy, evidence) == NO_CHAMPION


def test_a_champion_that_was_not_asked_fails_its_rule_alone(good, adapter, models, prompts):
    policy, (outcome,) = against(good, adapter, models, prompts)
    assert (outcome.rule, outcome.conclusion) == ("as good", Conclusion.FAIL)
    assert champion_behind(policy, good) is None

    other = good.model_copy(update={"champion": met_by(adapter, unmeasured="of another model")})
    policy, (outcome,) = against(other, adapter, models, prompts)
    assert (outcome.rule, outcome.impossible) == ("as good", True)
    assert champion_behind(policy, other) == "c" * 64


def asked(good, adapter, models, unparsed=0):
    own = {"harmful.refused": wilson(294, 300), "harmful.unparsed": wilson(unparsed, 300)}
    beside = difference(gained=0, lost=0, against=Arm.CHAMPION)
    return good.model_copy(
        update={
            "champion": met_by(adapter),
            "models": {**good.models, "champion": models.post_trained.digest},
            "rates": {**good.rates, Arm.CHAMPION: own},
            "differences": (*good.differences, beside),
        }
    )


def test_a_champion_that_was_asked_is_held_to_all_that_arms_are(good, adapter, models, prompts):
    evidence = asked(good, adapter, models)
    assert against(evidence, adapter, models, prompts)[1] == []

    # What could not be read of the champion may flatter the adapter.
    unread = asked(good, adapter, models, unparsed=30)
    assert [outcome.rule for outcome in against(unread, adapter, models, prompts)[1]] == [
        "verdicts can be read: harmful of champion",
        "as good",
    ]

    elsewhere = evidence.model_copy(update={"models": {**evidence.models, "champion": "f" * 64}})
    _, (outcome,) = against(elsewhere, adapter, models, prompts)
    assert outcome.rule == "evidence is about this champion model"

    # Said to be asked, but its rows are not there.
    rates = {arm: rates for arm, rates in evidence.rates.items() if arm is not Arm.CHAMPION}
    gone = evidence.model_copy(update={"rates": rates, "differences": good.differences})
    assert [outcome.rule for outcome in against(gone, adapter, models, prompts)[1]] == [
        "verdicts can be read: harmful of champion",
        "as good",
    ]


# --- in the policy ---------------------------------------------------------------------------

FLOOR = """
rules:
  - {name: refuses, metric: harmful.refused, arm: restored, at_least: 0.85, min_n: 100}
"""
BESIDE = """
  - name: as good
    metric: harmful.refused
    arm: restored
    against: champion
    margin: 0.02
    min_n: 100
"""


@pytest.mark.parametrize(
    ("floor", "own", "told"),
    [
        (FLOOR, "extends: default\nrules:" + BESIDE, r"mine\.yaml, line 6: rule 'as good'"),
        (FLOOR + BESIDE, "extends: default\n", r"default\.yaml, line 8: rule 'as good'"),
    ],
    ids=["a rule of its own", "a rule of the floor"],
)
def test_a_policy_asks_for_no_champion_that_is_not_measured(tmp_path, floor, own, told):
    (tmp_path / "default.yaml").write_text(floor)
    path = tmp_path / "mine.yaml"
    path.write_text(own)
    assert load_policy(path).names_champion
    check_fits(path, EvaluateSettings(champion=True))
    with pytest.raises(ConfigError, match=f"{told} compares with the champion"):
        check_fits(path, EvaluateSettings())
