"""What is counted is what the stage `evaluate` asks."""

from __future__ import annotations

import pytest

from components.core.vocabulary import ATTACKS, Form, Role
from components.prepare.suites import Suite
from components.profile import Profile
from flows.doctor.estimate import Workload, workloads
from tests.profiles import plain_profile
from tests.root import ROOT

PROFILES = ROOT / "profiles"


@pytest.fixture
def profile() -> Profile:
    return plain_profile()


def changed(profile: Profile, **changes) -> Profile:
    return profile.model_copy(update={"evaluate": profile.evaluate.model_copy(update=changes)})


def suite(role: Role, **changes) -> Suite:
    given = {
        "name": f"a-{role}-suite",
        "description": "made up",
        "cite": "nobody",
        "role": role,
        "licence": "MIT",
        "source": {"path": "data/raw/a.jsonl"},
        "max_new_tokens": 50,
        "judge": "rules",
        "grader": "mathematics" if role is Role.REASONING else None,
    }
    return Suite.model_validate(given | changes)


def test_the_profiles_own_prompts_by_role(profile):
    own = changed(
        profile,
        prompts={Role.HARMFUL: 20, Role.BENIGN: 30},
        max_new_tokens={Role.HARMFUL: 8, Role.BENIGN: 9},
        judged_by={Role.BENIGN: "guard"},
        attacks=(),
        forced_thought=False,
    )
    assert workloads(own, {}) == [
        Workload(Role.HARMFUL, "rules", 20, 100, 8),
        Workload(Role.BENIGN, "guard", 30, 100, 9),
    ]
    forced = workloads(changed(own, forced_thought=True), {})
    assert [one.completions for one in forced] == [20, 20, 30, 30]


def test_every_sample_is_a_completion_in_every_form(profile):
    asked = changed(
        profile,
        prompts={Role.HARMFUL: 20, Role.BENIGN: 30},
        samples=4,
        temperature=0.6,
        attacks=(Form.PREFILLED,),
        attack_prompts=5,
        attack_roles=(Role.HARMFUL, Role.BENIGN),
        forced_thought=False,
    )
    assert [one.completions for one in workloads(asked, {})] == [80, 20, 120, 20]


def test_attacks_are_put_to_harmful_prompts_alone_and_to_so_many(profile):
    attacked = changed(
        profile,
        prompts={Role.HARMFUL: 20, Role.BENIGN: 30},
        attacks=(Form.PREFILLED, Form.MANY_SHOT),
        attack_prompts=5,
        forced_thought=False,
    )
    harmful = [one for one in workloads(attacked, {}) if one.role is Role.HARMFUL]
    assert [one.completions for one in harmful] == [20, 5, 5]
    assert [one.prompt for one in harmful] == [100, 100, 700]
    few = workloads(changed(attacked, attack_prompts=100), {})
    assert [one.completions for one in few] == [20, 20, 20, 30]


def test_named_suites_with_their_samples_and_their_own_attacks(profile):
    plain = changed(profile, attacks=(Form.PREFILLED,), attack_prompts=5, forced_thought=False)
    own = len(workloads(plain, {}))
    suites = {
        "h": suite(Role.HARMFUL, prompts=7, attacks=[Form.PREFILLED, Form.ROLE_PLAY]),
        "r": suite(Role.REASONING, prompts=10, samples=4, temperature=0.5, judge="guard"),
        "b": suite(Role.BENIGN),
    }
    found = workloads(plain, suites)[own:]
    # An attack that profile and suite both name is put once.
    assert found[:3] == [Workload(Role.HARMFUL, "rules", n, 100, 50) for n in (7, 5, 5)]
    assert found[3] == Workload(Role.REASONING, "guard", 40, 100, 50)
    # How many prompts a suite without a limit has is not known.
    assert found[4:] == [Workload(Role.BENIGN, "rules", 500, 100, 50)]


def test_every_attack_is_counted(profile):
    every = changed(profile, attacks=ATTACKS, prompts={Role.HARMFUL: 9}, forced_thought=False)
    assert len(workloads(every, {})) == 1 + len(ATTACKS)


def test_what_is_counted_is_what_the_stage_asks(profile, random_prompts):
    from components.evaluate.plan import EvaluationPlan
    from components.prepare.result import SuiteSpec

    section = changed(
        profile,
        prompts=dict.fromkeys(Role, 12),
        attacks=(Form.PREFILLED, Form.MANY_SHOT),
        attack_prompts=5,
        forced_thought=True,
    ).evaluate
    named = suite(
        Role.HARMFUL, prompts=7, samples=2, temperature=1, attacks=[Form.ROLE_PLAY, Form.PREFILLED]
    )
    spec = SuiteSpec(
        **named.model_dump(include=set(SuiteSpec.model_fields) - {"prompts"}),
        prompts=7,
        origin="a.jsonl",
        digest="0" * 64,
    )
    own = random_prompts.own_test()
    plan = EvaluationPlan.of(
        section,
        own,
        {named.name: (spec, own[:7])},
        seed=0,
        forced_thought=section.forced_thought,
        attacks=section.attacks,
    )
    planned = [
        (one.role, len(prompts) * one.samples)
        for one in plan.suites
        for _, prompts in one.forms(forced_thought=True)
    ]
    counted = workloads(profile.model_copy(update={"evaluate": section}), {named.name: named})
    assert [(one.role, one.completions) for one in counted] == planned
