"""Rows cut into tasks, and what of them is withheld."""

from __future__ import annotations

import pytest

from components.core.errors import EvidenceError
from components.core.paths import ROWS
from components.core.vocabulary import Role
from components.evaluate.exports.tasks import target, tasks_of
from components.evaluate.result import Evidence
from components.evaluate.rows import read_judged
from components.prepare.result import LEAK_MARK, PromptSet
from tests.evaluations import ARMS, TEXTS, write_evaluation
from tests.evidence import leak


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    return write_evaluation(tmp_path_factory.mktemp("evaluated"))


@pytest.fixture(scope="module")
def parts(evaluated):
    prompts = PromptSet.load(evaluated.stage("prepare")).rows()
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
