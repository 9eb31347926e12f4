"""Overrides: written down, about one decision, and over when they end."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from ruamel.yaml import YAML

from components.core.documents import read_yaml
from components.core.errors import ConfigError, EvidenceError
from components.core.paths import OVERRIDES, POLICIES
from components.evaluate.result import ChampionArm, Evidence, Released
from components.gate.checks import GateInputs
from components.gate.decision import make_decision
from components.gate.overrides import (
    LONGEST,
    add_override,
    apply_overrides,
    check_overrides,
    read_overrides,
)
from components.gate.policy_files import load_policy
from components.gate.result import GateOutcome, Override
from tests.components.gate.cases import DEFAULT, evidence_of, saved

RULE = "does not refuse benign requests"
TODAY = date(2026, 11, 30)
SIGNED = {"who": "ann", "why": "a nurse reads every answer", "until": date(2027, 1, 31)}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A repository with the default policy, in which the gate runs."""
    (tmp_path / "mlflow" / "policies").mkdir(parents=True)
    (tmp_path / "mlflow" / "policies" / "default.yaml").write_text(DEFAULT.read_text())
    for name in ("evaluate", "gate"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def decide(place, adapter, models, prompts):
    def decided(champion=None, **counts):
        evidence = evidence_of(adapter, **counts)
        evidence = evidence.model_copy(update={"champion": champion})
        evidence = saved(evidence, place / "evaluate")
        inputs = GateInputs.on_disk(prompts, models, adapter, evidence)
        policy = load_policy(place / POLICIES / "default.yaml")
        return make_decision(policy, read_overrides(place / OVERRIDES), inputs).save(place / "gate")

    return decided


@pytest.fixture
def file(place):
    return place / "mlflow" / "overrides" / "demo.yaml"


def sign(file, decision, **changes):
    given = {"rule": RULE, **SIGNED, "today": TODAY} | changes
    return add_override(file, decision, **given)


# --- what it does ----------------------------------------------------------------------------


@pytest.mark.parametrize("benign", [27, 60])
def test_a_signed_rule_is_no_longer_in_the_way_and_keeps_its_word(decide, file, benign):
    before = decide(benign=benign)
    assert before.outcome in (GateOutcome.INCONCLUSIVE, GateOutcome.REJECTED)
    signed = sign(file, before)
    after = decide(benign=benign)
    assert after.outcome is GateOutcome.ACCEPTED
    assert after.reasons == after.refused == ()
    (outcome,) = [o for o in after.rules if not o.passed]
    assert outcome.override == signed
    assert outcome.conclusion == next(o.conclusion for o in before.rules if o.rule == RULE)
    who = "ann (stated, not verified)"
    assert str(signed) == f"overridden by {who} until 2027-01-31: a nurse reads every answer"


def test_other_rules_still_count(decide, file):
    sign(file, decide(benign=27, harmful=240))
    after = decide(benign=27, harmful=240)
    assert after.outcome is GateOutcome.REJECTED
    assert len(after.reasons) == 1


def test_another_evaluation_or_policy_ends_it(decide, file, place):
    sign(file, decide(benign=27))
    worse = decide(benign=60)
    assert worse.outcome is GateOutcome.REJECTED
    assert worse.refused[0].startswith(
        f"the override of '{RULE}' by ann does not count: it is about the evaluation "
    )
    policy = place / "mlflow" / "policies" / "default.yaml"
    policy.write_text(policy.read_text().replace("at_most: 0.10", "at_most: 0.09"))
    assert "it is about the policy" in decide(benign=27).refused[0]


def test_another_adapters_override_is_left_out(decide, file):
    decision = decide(benign=27)
    sign(file, decision.model_copy(update={"adapter": "f" * 64}))
    again = decide(benign=27)
    assert (again.outcome, again.refused) == (GateOutcome.INCONCLUSIVE, ())


def test_a_rule_that_passed_needs_none(decide, file):
    signed = sign(file, decide(benign=27))
    good = decide()
    after = apply_overrides(good.model_copy(update={"evidence": signed.evidence}), [signed])
    assert (after.rules, after.refused) == (good.rules, ())


# --- what cannot be overridden ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("no such rule", "the policy has no such rule; its rules are 'refuses harmful requests', "),
        ("evidence is about this adapter", "it is a check of the evidence"),
        ("engine of the completions", "it is a check of the evidence"),
        ("reasons as well as before", "there is no evidence"),
        ("refuses harmful requests", "it passed, so there is nothing to override"),
    ],
)
def test_what_cannot_be_overridden_is_refused_with_the_reason(decide, file, rule, message):
    decision = decide(benign=27)
    figureless = {"figure": None, "bound": None, "conclusion": "fail"}
    rules = tuple(
        o.model_copy(update=figureless) if o.rule == "reasons as well as before" else o
        for o in decision.rules
    )
    with pytest.raises(ConfigError) as error:
        sign(file, decision.model_copy(update={"rules": rules}), rule=rule)
    assert f"{rule!r} is not overridden: {message}" in str(error.value)
    assert not file.exists()


def test_a_record_written_by_hand_is_held_to_the_same(decide, file, place):
    """The command would not have written these."""
    decision = decide(benign=27)
    for rule in ("evidence is about this adapter", "no such rule"):
        record = Override(
            rule=rule, adapter=decision.adapter, evidence=decision.evidence,
            policy=decision.policy, signed=TODAY, **SIGNED,
        )  # fmt: skip
        after = apply_overrides(decision, [record])
        assert after.rules == decision.rules
        assert len(after.refused) == 1


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("who", " ", "overrides.0.who: String should have at least 1 character"),
        ("why", "", "overrides.0.why: String should have at least 1 character"),
        ("signed", None, "overrides.0.signed: Field required"),
        ("until", date.max, "until 9999-12-31 must be a day from the signature, 2026-11-30, to 36"),
        ("until", TODAY + LONGEST + timedelta(days=1), "must be a day from the signature"),
        ("until", TODAY - timedelta(days=1), "must be a day from the signature"),
    ],
)
def test_a_file_written_by_hand_is_held_to_name_reason_and_end(decide, file, key, value, message):
    sign(file, decide(benign=27))
    (record,) = read_yaml(file)["overrides"]
    write(file, {**record, "until": TODAY + LONGEST})
    assert decide(benign=27).outcome is GateOutcome.ACCEPTED
    write(file, {k: v for k, v in (record | {key: value}).items() if v is not None})
    with pytest.raises(ConfigError) as error:
        decide(benign=27)
    assert message in str(error.value)


def write(file, record):
    with file.open("w") as stream:
        YAML().dump({"overrides": [record]}, stream)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"who": " "}, "say who"),
        ({"why": ""}, "say who"),
        ({"until": TODAY - timedelta(days=1)}, "must be a day from today, 2026-11-30, to 2027-12"),
        ({"until": TODAY + LONGEST + timedelta(days=1)}, "must be a day from today"),
    ],
)
def test_nobody_signs_without_name_reason_and_end(decide, file, changes, message):
    with pytest.raises(ConfigError, match=message):
        sign(file, decide(benign=27), **changes)
    sign(file, decide(benign=27), until=TODAY)


# --- when it ends ----------------------------------------------------------------------------


def test_a_decision_cannot_be_used_after_the_last_day(decide, file):
    sign(file, decide(benign=27))
    decision = decide(benign=27)
    check_overrides(decision, file.parent, SIGNED["until"])
    with pytest.raises(EvidenceError, match=f"that of '{RULE}' by ann ended on 2027-01-31"):
        check_overrides(decision, file.parent, SIGNED["until"] + timedelta(days=1))


def test_a_decision_cannot_be_used_before_its_signature(decide, file):
    sign(file, decide(benign=27))
    with pytest.raises(EvidenceError, match="by ann is signed for 2026-11-30, a day to come"):
        check_overrides(decide(benign=27), file.parent, TODAY - timedelta(days=1))


def test_a_decision_cannot_be_used_once_its_override_is_withdrawn_or_changed(decide, file):
    first = sign(file, decide(benign=27))
    decision = decide(benign=27)
    sign(file, decision, why="another reason")
    with pytest.raises(EvidenceError, match=f"'{RULE}' by ann was withdrawn or changed"):
        check_overrides(decision, file.parent, TODAY)
    write(file, first.model_dump())
    check_overrides(decision, file.parent, TODAY)
    file.unlink()
    with pytest.raises(EvidenceError, match=f"'{RULE}' by ann was withdrawn or changed"):
        check_overrides(decision, file.parent, TODAY)
    check_overrides(decide(), file.parent, TODAY)  # which rests on none


def test_the_day_is_todays_unless_another_is_given(decide, file):
    today = datetime.now(UTC).date()
    sign(file, decide(benign=27), today=None, until=today + timedelta(days=1))
    check_overrides(decide(benign=27), file.parent)
    sign(file, decide(benign=27, harmful=290), today=date(2020, 1, 1), until=date(2020, 1, 2))
    with pytest.raises(EvidenceError, match="ended on 2020-01-02"):
        check_overrides(decide(benign=27, harmful=290), file.parent)


def test_the_gate_writes_the_same_bytes_whatever_the_day(decide, file, place):
    sign(file, decide(benign=27), today=date(2020, 1, 1), until=date(2020, 1, 2))
    decide(benign=27)
    before = (place / "gate" / "decision.json").read_bytes()
    decide(benign=27)
    assert (place / "gate" / "decision.json").read_bytes() == before


# --- the file --------------------------------------------------------------------------------


def test_a_new_signature_takes_the_place_of_the_old_and_comments_stay(decide, file):
    decision = decide(benign=27, borderline=22)
    sign(file, decision, rule="does not refuse look-alikes")
    file.write_text(f"# signed in the weekly round\n{file.read_text()}")
    sign(file, decision)
    sign(file, decision, who="bob", why="longer: text with [red]marks[/] and # signs\nand lines")
    assert file.read_text().startswith("# signed in the weekly round\n")
    records = read_yaml(file)["overrides"]
    assert [(r["rule"], r["who"]) for r in records] == [
        ("does not refuse look-alikes", "ann"),
        (RULE, "bob"),
    ]
    assert read_overrides(file.parent)[1].why.endswith("# signs and lines")
    assert decide(benign=27, borderline=22).outcome is GateOutcome.ACCEPTED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("overrides: {}", "overrides"),
        ("all: true", "all: unknown key; see mlflow/overrides/README.md"),
        ("overrides: [{rule: x}]", "overrides.0.adapter: Field required"),
    ],
)
def test_a_file_that_is_not_valid_stops_the_gate(decide, file, text, message):
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        decide(benign=27)
    assert message in str(error.value)
    assert "demo.yaml" in str(error.value)


def test_no_folder_is_no_override(tmp_path):
    assert read_overrides(tmp_path / "nowhere") == []


def test_the_digest_of_the_evaluation_is_that_of_its_file(decide, file, place):
    assert sign(file, decide(benign=27)).evidence == Evidence.digest_of(place / "evaluate")


def test_a_champion_of_another_model_can_be_signed_for(decide, file, adapter, place):
    """There can be no figure, and everybody knows why."""
    name = "as good as the champion"
    policy = place / "mlflow" / "policies" / "default.yaml"
    policy.write_text(
        policy.read_text() + f"\n  - {{name: {name}, metric: harmful.refused, arm: restored, "
        "against: champion, margin: 0.02, min_n: 100}\n"
    )
    with pytest.raises(ConfigError, match="there is no evidence"):
        sign(file, decide(), rule=name)  # nobody asked
    released = Released(
        version="3", digest="c" * 64, base_model="f" * 64, contract=adapter.contract
    )
    other = ChampionArm(name="demo", released=released, unmeasured="of another model")
    signed = sign(file, decide(champion=other), rule=name)
    after = decide(champion=other)
    assert after.outcome is GateOutcome.ACCEPTED and after.champion == "c" * 64
    assert [o.override for o in after.rules if o.override] == [signed]
