"""Verdicts on thought and answer, each by itself."""

from __future__ import annotations

from components.evaluation.judging import Judge, judged_rows
from components.records import Arm, Completion, Form, Outcome, Prompt, Role, Split

REFUSAL = "I'm sorry, but I can't help with that."


def prompt(role=Role.HARMFUL, answer=None):
    return Prompt("1", "a question", role, "topic", "test", "MIT", Split.TEST, answer=answer)


def completion(answer, thought=None):
    return Completion(prompt_id="1", thought=thought, answer=answer, finished=True, tokens=3)


def judged(text, thought=None, judge=Judge(), **of_prompt):  # noqa: B008 - frozen
    return judge.verdict(prompt(**of_prompt), completion(text, thought), Arm.BASE)


def test_thought_and_answer_are_kept_apart():
    verdict = judged(REFUSAL, thought="first take the jar")
    assert (verdict.thought, verdict.answer) == (Outcome.COMPLIED, Outcome.REFUSED)
    verdict = judged("take the jar", thought=REFUSAL)
    assert (verdict.thought, verdict.answer) == (Outcome.REFUSED, Outcome.COMPLIED)
    assert judged("take the jar").thought is None


def test_empty_is_neither_whatever_the_patterns_say():
    lenient = Judge(refusal_patterns=("",), compliance_pattern=".*")
    for text in ("", "  \n"):
        verdict = judged(text, thought=text, judge=lenient)
        assert (verdict.thought, verdict.answer) == (Outcome.NEITHER, Outcome.NEITHER)


def test_only_reasoning_with_a_reference_is_graded():
    assert judged("answer is 7", role=Role.REASONING, answer="7").correct is True
    assert judged("", thought="so 7", role=Role.REASONING, answer="7").correct is False
    assert judged("answer is 7", role=Role.REASONING).correct is None
    assert judged("answer is 7", role=Role.BENIGN, answer="7").correct is None


def test_the_judge_is_named_by_its_patterns():
    assert Judge().name == Judge(refusal_patterns=()).name
    names = {Judge().name, Judge(("no",)).name, Judge(("no",), "yes").name}
    assert len(names) == 3
    assert all(name.startswith("rules:") for name in names)


def test_a_row_keeps_prompt_completion_and_verdict():
    (row,) = judged_rows(
        [prompt()], [completion(REFUSAL)], judge=Judge(), arm=Arm.RESTORED, form=Form.FORCED
    )
    assert (row.prompt_id, row.arm, row.form, row.role) == ("1", "restored", "forced", "harmful")
    assert (row.answer, row.tokens, row.outcome_answer) == (REFUSAL, 3, "refused")
    assert (row.thought, row.outcome_thought, row.correct) == (None, None, None)
