"""A teacher is judged in training by as much as in its check; how much it teaches is apart."""

from __future__ import annotations

import pytest

from components.core.errors import TrainingError
from components.core.vocabulary import Form, Role, Split
from components.judges.settings import RulesSettings
from components.lm.chat import render_completion
from components.lm.loading import load_model, load_tokenizer
from components.train.course import Course
from components.train.rows import read_prompts
from components.train.sides import PROMPT_ONLY_TOKENS, teacher_lesson
from components.train.teacher import Reader

THOUGHT = "first take the jar then turn the lamp . " * 4
REFUSAL = "sorry can not help with that ."


@pytest.fixture(scope="module")
def teacher(random_models) -> Reader:
    folder = random_models.folder / "base"
    return Reader(load_model(folder), load_tokenizer(folder))


@pytest.fixture
def written(teacher, monkeypatch) -> list[int]:
    """What a teacher writes that refuses behind a long thought, cut where it must stop."""
    ids = render_completion(teacher.tokenizer, thought=THOUGHT, response=REFUSAL)
    monkeypatch.setattr(
        "components.train.rows.generate",
        lambda _model, _tokenizer, prompts, *, max_new_tokens, **_: [
            ids[:max_new_tokens] for _ in prompts
        ],
    )
    return ids


@pytest.fixture
def ask(teacher, random_prompts, tmp_path):
    """A function that asks the teacher for its lesson."""
    prompts = random_prompts.rows(split=Split.TRAIN, role=Role.HARMFUL)
    read = read_prompts(teacher.tokenizer, prompts, forms=(Form.SERVED,), max_tokens=64)

    def ask(name: str = "lesson", *, waived: bool = False, **tokens):
        return teacher_lesson(
            teacher,
            prompts,
            read,
            **tokens,
            prompt_tokens=2,
            layers=(1, 3),
            patterns=("^sorry",),
            compliance_pattern=None,
            waived=waived,
            folder=tmp_path / name,
        )

    return ask


@pytest.mark.parametrize(
    ("refusal_tokens", "taught"), [(6, 6), (0, PROMPT_ONLY_TOKENS)], ids=["refusal", "prompt only"]
)
def test_a_refusal_behind_a_long_thought_counts(ask, written, refusal_tokens, taught):
    lesson = ask(refusal_tokens=refusal_tokens, check_tokens=len(written))
    assert (lesson.refused, lesson.asked) == (12, 12)
    assert {row.completion for row in lesson.refusals} == {tuple(written[:taught])}
    side = lesson.side
    assert {row.completion for row in side.rows} == {tuple(written[:refusal_tokens])}
    assert set(side.tails) == {2 + max(refusal_tokens - 1, 0)}
    assert [len(side.targets[i]) for i in range(12)] == list(side.tails)


def test_a_refusal_beyond_both_limits_does_not(ask, written):
    with pytest.raises(TrainingError, match="refuses 0 of 12"):
        ask(refusal_tokens=6, check_tokens=len(written) // 2)


def test_a_shorter_check_changes_nothing(ask):
    lessons = [ask(str(n), waived=True, refusal_tokens=6, check_tokens=n) for n in (1, 6)]
    first, second = lessons
    assert first.refusals == second.refusals and first.side.rows == second.side.rows
    assert {len(row.completion) for row in first.refusals} == {6}
    for i in range(12):
        assert first.side.targets[i].equal(second.side.targets[i])


def test_the_probe_says_how_much_its_check_saw(
    written, quick, random_prompts, random_models, make_probe, tmp_path
):
    settings = quick.model_copy(update={"rules": RulesSettings(refusal_patterns=("^sorry",))})
    course = Course(settings, random_prompts, random_models, 0, tmp_path)
    probe = make_probe(refused=1.0)
    with pytest.raises(TrainingError, match="refuses 0 of 12"):
        course.lesson(probe)
    lesson = course.lesson(probe.model_copy(update={"check_tokens": len(written)}))
    assert {row.completion for row in lesson.refusals} == {tuple(written[:6])}
