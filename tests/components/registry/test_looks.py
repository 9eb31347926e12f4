"""The record of looks: each decision once, refused ones too, and what a policy plans of them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from components.core.errors import EvidenceError, RegistryError
from components.gate.policy_files import load_policy
from components.registry.looks import OWNER, PREFIX, Look, check_plan, record_look
from components.registry.mlflow_registry import Registry
from components.registry.registration import register
from tests.releases import NAMES, POLICY, write_all

FIRST = Look(
    profile="demo",
    seed=0,
    adapter="a",
    prompts="p",
    data="d",
    evidence="e",
    policy="s",
    outcome="rejected",
    when="2026-01-01T00:00:00+00:00",
)
RECORD = ("demo-safety", "looked")  # registered model and experiment


def later(second: int, **changes: str) -> Look:
    return replace(FIRST, when=f"2026-01-01T00:00:{second:02}+00:00", **changes)


def test_a_look_counts_with_those_at_the_same_prompts_or_of_the_same_adapter(registry: Registry):
    looks = [
        (FIRST, 1),
        (later(1), 1),  # the same decision, made again
        (later(2, adapter="b", evidence="f"), 2),
        (later(3, adapter="c", evidence="g", prompts="q"), 1),
        (later(4, adapter="c", evidence="h", outcome="accepted"), 4),  # the third's and two more
        (later(5, policy="t"), 4),  # the first's evidence by another policy
    ]
    assert [record_look(registry, *RECORD, look).number for look, _ in looks] == [1, 1, 2, 1, 4, 4]
    last = record_look(registry, *RECORD, looks[-1][0])
    assert last.words == (
        "look 4 at these test prompts or of this adapter (before: 1 accepted, 2 rejected)"
    )
    assert [look.adapter for look in last.before] == ["a", "b", "c"]
    assert record_look(registry, "another", "looked", FIRST).number == 1


def test_other_labels_of_the_same_evidence_are_another_look(registry: Registry):
    known = [FIRST, later(1, labels="l"), later(2, labels="l"), later(3, labels="m")]
    assert [record_look(registry, *RECORD, look).number for look in known] == [1, 2, 2, 3]


def test_the_first_looks_of_two_callers_at_once_are_read_together(registry: Registry):
    record_look(registry, *RECORD, FIRST)
    home = registry.experiment(RECORD[1])
    tags = {OWNER: RECORD[0]}
    (first,) = registry.runs(home, tags)
    other = registry.begin_run(home, "looks of demo-safety", tags)
    kept = registry.claims(first.id, PREFIX)
    assert registry.claim(other, f"{PREFIX}000001", kept[f"{PREFIX}000001"])
    assert record_look(registry, *RECORD, FIRST).number == 1
    assert record_look(registry, *RECORD, later(1, evidence="f")).number == 2


def test_a_record_whose_beginning_was_killed_is_closed_by_the_next_look(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
):
    def killed(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "end_run", killed)
        with pytest.raises(KeyboardInterrupt):
            record_look(registry, *RECORD, FIRST)
    (begun,) = registry.runs(None, {OWNER: RECORD[0]})
    assert begun.open
    assert record_look(registry, *RECORD, FIRST).number == 1
    (record,) = registry.runs(None, {OWNER: RECORD[0]})
    assert (record.id, record.open) == (begun.id, False)


def test_looks_are_numbered_as_they_were_written_whatever_clocks_say(registry: Registry):
    known = [later(30), later(10, adapter="b", evidence="f"), later(20, adapter="c", evidence="g")]
    assert [record_look(registry, *RECORD, look).number for look in known] == [1, 2, 3]


def test_another_experiment_begins_no_other_record(registry: Registry):
    record_look(registry, *RECORD, FIRST)
    assert record_look(registry, RECORD[0], "elsewhere", later(1, adapter="b")).number == 2


@pytest.mark.parametrize("changes", [{"when": 5}, {"adapter": []}, {"outcome": None}])
def test_an_entry_of_other_types_is_damaged(registry: Registry, changes):
    record_look(registry, *RECORD, FIRST)
    (run,) = registry.runs(None, {OWNER: RECORD[0]})
    registry.claim(run.id, f"{PREFIX}000002", json.dumps(asdict(later(1)) | changes))
    with pytest.raises(RegistryError, match="is damaged"):
        record_look(registry, *RECORD, later(2, adapter="b"))


def test_a_number_that_somebody_took_by_hand_is_passed_over(registry: Registry):
    record_look(registry, *RECORD, FIRST)
    (run,) = registry.runs(registry.experiment(RECORD[1]), {OWNER: RECORD[0]})
    kept = registry.claims(run.id, PREFIX)[f"{PREFIX}000001"]
    assert registry.claim(run.id, f"{PREFIX}000003", kept)
    assert record_look(registry, *RECORD, later(1, evidence="f")).number == 2


def test_a_damaged_entry_is_named(registry: Registry):
    record_look(registry, *RECORD, FIRST)
    (run,) = registry.runs(registry.experiment(RECORD[1]), {OWNER: RECORD[0]})
    registry.claim(run.id, f"{PREFIX}000002", "{}")
    with pytest.raises(RegistryError, match=rf"{PREFIX}000002 of run {run.id} is damaged"):
        record_look(registry, *RECORD, FIRST)


def test_a_registered_version_says_which_look_its_decision_is(registered):
    registry = Registry(registered.root)
    version = registry.version(NAMES["name"], "1")
    assert version.tags["looks"] == "look 1 at these test prompts or of this adapter"
    again = register(write_all(registered, weight=2), **NAMES)
    second = registry.version(NAMES["name"], again.version)
    assert second.tags["looks"].endswith("(before: 1 accepted)")


def test_a_look_beyond_the_plan_is_recorded_and_not_registered(registered):
    policy = registered.root / "mlflow" / "policies" / "default.yaml"
    policy.write_text(f"looks: 1\n{policy.read_text()}")
    with pytest.raises(EvidenceError, match=r"look 2 .*: 1 accepted.*the policy plans 1"):
        register(write_all(registered, weight=2, policy=policy), **NAMES)
    registry = Registry(registered.root)
    assert registry.numbers(NAMES["name"]) == ["1"]
    (run,) = registry.runs(registry.experiment(NAMES["experiment"]), {OWNER: NAMES["name"]})
    assert len(registry.claims(run.id, PREFIX)) == 2


@pytest.mark.parametrize(("planned", "allowed"), [(None, True), (2, True), (1, False)])
def test_a_plan_is_a_number_of_looks(registry: Registry, planned, allowed):
    record_look(registry, *RECORD, FIRST)
    looked = record_look(registry, *RECORD, later(1, evidence="f"))
    policy = load_policy(POLICY).model_copy(update={"looks": planned})
    if allowed:
        check_plan(policy, looked)
    else:
        with pytest.raises(EvidenceError, match="look 2 at these"):
            check_plan(policy, looked)
