"""Rows cut into tasks, and what of them is withheld."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from components.core.errors import EvidenceError
from components.core.paths import ROWS
from components.core.vocabulary import Outcome, Role
from components.evaluate.exports.tasks import Selection, target, tasks_of
from components.evaluate.result import Evidence
from components.evaluate.rows import read_judged
from components.prepare.result import LEAK_MARK, SuiteSet
from tests.evaluations import ARMS, TEXTS, write_evaluation
from tests.evidence import leak


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    return write_evaluation(tmp_path_factory.mktemp("evaluated"))


@pytest.fixture(scope="module")
def parts(evaluated):
    prompts = SuiteSet.load(evaluated.stage("prepare")).own_test()
    return prompts, read_judged(evaluated.stage("evaluate") / ROWS)


def test_a_task_is_a_suite_in_a_form_by_an_arm(parts):
    tasks = tasks_of(*parts, redact=True, leaks=())
    names = ["harmful", "harmful.forced_thought", "sums"]
    assert sorted((task.arm, task.name) for task in tasks) == [(a, n) for a in ARMS for n in names]
    for task in tasks:
        assert len(task.by_prompt()) == len(TEXTS)
        assert len(task.samples) == len(TEXTS) * (2 if task.name == "sums" else 1)


def test_what_was_said_to_harmful_prompts_is_told_by_its_length_alone(parts):
    for task in tasks_of(*parts, redact=True, leaks=()):
        for prompt, row in task.samples:
            assert ("secret" in row.completion.text) is (task.role is not Role.HARMFUL)
            if task.role is Role.HARMFUL:
                length = len(f"secret answer {TEXTS[prompt.topic]}")
                assert row.answer == f"(withheld: {length} characters)"
                assert row.said_answer == "" and row.said_thought is None
    open_ones = tasks_of(*parts, redact=False, leaks=())
    assert all("secret" in row.completion.text for task in open_ones for _, row in task.samples)


def test_measures_of_samples_and_rates_of_the_evidence_agree(parts, evaluated):
    evidence = Evidence.load(evaluated.stage("evaluate"))
    for task in tasks_of(*parts, redact=True, leaks=()):
        measured, rates = task.measured(), task.rates(evidence)
        assert measured.keys() == rates.keys() > {"refused", "thought.complied", "finished"}
        for measure, found in measured.items():
            assert sum(found.values()) / len(found) == pytest.approx(rates[measure].rate)
    sums = next(task for task in tasks_of(*parts, redact=True, leaks=()) if task.name == "sums")
    # One of two samples each; of every fourth prompt the token limit cut them off.
    assert set(sums.measured()["correct"].values()) == {0.0, 0.5}


def test_targets(parts):
    by_role = {prompt.role: target(prompt) for prompt in reversed(parts[0])}
    assert by_role == {Role.HARMFUL: "refused", Role.REASONING: "0"}


def test_no_rows_and_unknown_prompts_are_refused(parts):
    prompts, rows = parts
    with pytest.raises(EvidenceError, match="holds no row"):
        tasks_of(prompts, {}, redact=True, leaks=())
    with pytest.raises(EvidenceError, match="does not hold; run the stage evaluate"):
        tasks_of(prompts[:1], rows, redact=True, leaks=())


def test_a_task_of_a_suite_that_training_repeats_is_marked_and_says_why(parts, evaluated):
    evidence = Evidence.load(evaluated.stage("evaluate"))
    leaks = [leak("harmful", "run", 3, 1, dropped=2), leak("sums", "run")]
    for task in tasks_of(*parts, redact=True, leaks=leaks):
        held = task.suite == "harmful"
        assert task.title == task.name + f" {LEAK_MARK}" * held
        rate = next(iter(task.rates(evidence).values()))
        assert task.annotated(rate) == rate.model_dump(mode="json") | task.note
        assert bool(task.note) is held
        if held:
            assert "repeated 3 of 300 prompts" in task.note["repeated_in_training"]


@pytest.mark.parametrize(
    ("suite", "arm", "outcome"),
    product((None, "sums"), (None, ARMS[0]), (None, "refused", "complied")),
)
def test_what_is_chosen_is_what_is_all_of_it(parts, suite, arm, outcome):
    _, rows = parts
    chosen = Selection(suite, arm, outcome).of(rows)
    left = {name: [row for row in own if row not in chosen[name]] for name, own in rows.items()}
    for name, own in chosen.items():
        assert all(row.suite == suite or not suite for row in own)
        assert all(row.outcome_answer == outcome or not outcome for row in own)
        assert not own or arm in (None, name)
        assert not left[name] or suite or outcome or arm != name
    assert sum(map(len, chosen.values())) + sum(map(len, left.values())) == sum(
        map(len, rows.values())
    )


def test_a_disagreement_is_two_judges_outcomes_of_thought_or_answer(parts):
    _, rows = parts
    with pytest.raises(EvidenceError, match="one judge alone read them"):
        Selection(disagreement=True).of(rows)
    seen = rows[ARMS[0]][0]
    words = (Outcome.REFUSED, Outcome.COMPLIED)
    for first, second, first_thought, second_thought in product(words, repeat=4):
        read = replace(
            seen,
            outcome_answer=first,
            second_answer=second,
            outcome_thought=first_thought,
            second_thought=second_thought,
        )
        assert read.disputed is (first != second or first_thought != second_thought)
        agreed = replace(
            seen, second_answer=seen.outcome_answer, second_thought=seen.outcome_thought
        )
        expected = [read] if read.disputed else []
        if expected:
            assert Selection(disagreement=True).of({ARMS[0]: [read, agreed]}) == {ARMS[0]: expected}


def test_what_no_completion_is_names_what_there_is(parts):
    with pytest.raises(EvidenceError, match="suites: harmful, sums; arms: post-trained, restored"):
        Selection(suite="poems").of(parts[1])
