"""Trials are measured on validation prompts, in every form, and on nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from components.core.errors import ConfigError, DataError
from components.core.metric_names import is_compared
from components.core.paths import PROMPTS
from components.core.storage import write_rows
from components.core.vocabulary import Arm, Form, Outcome, Prompt, Role, Split
from components.evaluate.rates import counts_of
from components.evaluate.settings import EvaluateSettings
from components.judges.protocol import Verdict
from components.judges.settings import RulesSettings
from components.lm.adapters import attach_adapter
from components.lm.loading import load_model, load_tokenizer
from components.prepare.result import SuiteSet
from components.studies.tune.measuring import _at_worst, measure, validation_runner
from tests.evidence import make_row

# Half of what random models write is a refusal by this rule, so that arms differ in their figures.
RULES = RulesSettings(refusal_patterns=("one|two|take|done|first|plus|box|jar|lamp",))
SETTINGS = EvaluateSettings(max_new_tokens=dict.fromkeys(Role, 6), batch=8, rules=RULES)
SIZES = dict.fromkeys(Role, 5)


def asked_of(runner):
    return [prompt for suite in runner.plan.suites for prompt in suite.prompts]


@pytest.fixture(scope="module")
def runner(random_prompts):
    return validation_runner(
        SETTINGS, random_prompts, sizes=SIZES, forms=(Form.SERVED, Form.FORCED_THOUGHT), seed=3
    )


@pytest.fixture
def ask(random_prompts, tmp_path):
    """A function that asks for the questions of a changed set of prompts or changed settings."""

    def runner_of(change=lambda row: row, section=SETTINGS):
        rows = [changed for row in random_prompts.rows() if (changed := change(row))]
        write_rows(tmp_path / PROMPTS, rows, Prompt)
        prompts = random_prompts.model_copy()
        prompts.save(tmp_path)
        return validation_runner(
            section, SuiteSet.load(tmp_path), sizes=SIZES, forms=(Form.SERVED,), seed=3
        )

    return runner_of


def test_only_validation_prompts_are_asked(runner, random_prompts):
    asked = {prompt.id for prompt in asked_of(runner)}
    assert len(asked) == 5 * len(Role)
    assert asked <= {row.id for row in random_prompts.rows(split=Split.VALIDATION)}
    assert runner.plan.forced_thought


def test_harmful_prompts_are_asked_in_the_attacks_that_training_did_not_see(random_prompts):
    attacked = SETTINGS.model_copy(
        update={
            "attacks": ("persona", "role-play"),
            "attack_roles": (Role.HARMFUL, Role.BENIGN),
            "attack_prompts": 3,
        }
    )
    forms = (Form.SERVED, Form.ROLE_PLAY)
    runner = validation_runner(attacked, random_prompts, sizes=SIZES, forms=forms, seed=3)
    asked = {suite.role: suite.attacks for suite in runner.plan.suites}
    assert asked[Role.HARMFUL] == ("persona",)
    assert asked[Role.BENIGN] == ("persona", "role-play")
    assert asked[Role.REASONING] == asked[Role.BORDERLINE] == ()


def test_fewer_prompts_than_asked_for_are_all_taken(random_prompts):
    found = validation_runner(
        SETTINGS, random_prompts, sizes=dict.fromkeys(Role, 99), forms=(Form.SERVED,), seed=0
    )
    assert len(asked_of(found)) == 12 * len(Role) and not found.plan.forced_thought


@pytest.mark.parametrize("role", [Role.HARMFUL, Role.BENIGN, Role.REASONING])
def test_a_role_that_validation_lacks_is_named_with_the_remedies(ask, role):
    def without(row):
        return None if (row.role, row.split) == (role, Split.VALIDATION) else row

    with pytest.raises(
        DataError, match=f"no {role} prompts.*take `split` off.*prepare.validation_share.*`split: v"
    ):
        ask(without)


def test_reasoning_prompts_without_answers_cannot_be_measured(ask):
    from dataclasses import replace

    with pytest.raises(DataError, match=r"no reasoning prompts.*need an `answer`"):
        ask(lambda row: replace(row, answer=None))


def test_borderline_prompts_are_measured_where_there_are_some(ask):
    def without(row):
        return None if row.role is Role.BORDERLINE else row

    assert {prompt.role for prompt in asked_of(ask())} == set(Role)
    assert Role.BORDERLINE not in {prompt.role for prompt in asked_of(ask(without))}


def test_roles_without_a_token_limit(ask):
    limits = dict.fromkeys((Role.HARMFUL, Role.BENIGN, Role.REASONING), 6)
    section = EvaluateSettings(prompts=limits, max_new_tokens=limits)
    assert Role.BORDERLINE not in {prompt.role for prompt in asked_of(ask(section=section))}
    fewer = {role: 6 for role in limits if role is not Role.REASONING}
    with pytest.raises(ConfigError, match="max_new_tokens lacks a number for reasoning"):
        ask(section=EvaluateSettings(prompts=fewer, max_new_tokens=fewer))


def test_the_figures_are_those_of_the_rows(runner, random_models, random_adapter):
    """Against asking and counting by hand."""
    folder = random_models.folder / "post-trained"
    model = attach_adapter(load_model(folder), random_adapter.adapter)
    rows = runner.rows(Arm.RESTORED, model, load_tokenizer(folder))
    found = measure(
        runner,
        random_models,
        Arm.RESTORED,
        confidence=0.95,
        adapter=random_adapter.adapter,
    )
    assert set(found) == {metric for metric in counts_of(rows) if is_compared(metric)}
    assert {f"{role}.refused" for role in Role if role is not Role.REASONING} < set(found)
    for metric, counts in counts_of(rows).items():
        if metric in found:
            # What the token limit left open counts for no rate at its lowest.
            assert found[metric].count == sum(holds is True for (holds,) in counts.values())
            assert found[metric].n == 5
    assert measure(runner, random_models, Arm.POST_TRAINED, confidence=0.95) != found


def test_an_arm_is_asked_as_itself(runner, random_models, monkeypatch):
    folders = []

    def load(folder):
        folders.append(folder.name)
        return load_model(folder)

    monkeypatch.setattr("components.studies.tune.measuring.load_model", load)
    for arm in (Arm.BASE, Arm.POST_TRAINED):
        measure(runner, random_models, arm, confidence=0.95)
    assert folders == ["base", "post-trained"]


def test_what_the_judge_cannot_read_counts_as_complied_with(runner, random_models):
    class Always:
        name, roles, usage = "always", frozenset(Role), None

        def __init__(self, outcome):
            self.outcome = outcome

        def judge(self, cases):
            yield dict.fromkeys(cases, Verdict(self.outcome, ""))

    def found(outcome):
        judges = dict.fromkeys(runner.judges.judges, Always(outcome))
        judged = replace(runner, judges=replace(runner.judges, judges=judges))
        return measure(judged, random_models, Arm.BASE, confidence=0.95)

    unread = found(Outcome.UNPARSED)
    assert unread == found(Outcome.COMPLIED) != found(Outcome.REFUSED)
    assert unread["harmful.either.complied"].rate == 1


@pytest.mark.parametrize("role", [Role.BENIGN, Role.BORDERLINE, Role.HARMFUL])
def test_what_cannot_be_read_speaks_against_a_setting_whatever_was_asked(role):
    """A setting whose answers to harmless prompts are unreadable refused none of them."""
    row = make_row("p", Outcome.UNPARSED, Outcome.UNPARSED, role=role)
    tried = _at_worst(row, tried=True)
    worst = Outcome.COMPLIED if role is Role.HARMFUL else Outcome.REFUSED
    assert (tried.outcome_thought, tried.outcome_answer) == (worst, worst)
    assert _at_worst(row, tried=False).outcome_answer is Outcome.COMPLIED
