from __future__ import annotations

import numpy as np
import pytest

from components.core.errors import TrainingError
from components.core.vocabulary import Form, Prompt, Role, Split
from components.judges.settings import RulesSettings
from components.lm.chat import render_completion, render_prompt, split_completion
from components.lm.generation import end_tokens
from components.lm.loading import load_model, load_tokenizer
from components.train.answers import own_completions
from components.train.rows import (
    RETAINED,
    Refusals,
    TrainingRow,
    keep_refusals,
    read_prompts,
    refuses,
    sample_prompts,
)
from components.train.settings import TrainSettings
from components.train.teacher import Reader
from tests.checkpoints import write_checkpoint

# Drops the thought from assistant turns, as the template of the R1 models does.
STRIPPING = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>"
    "{{ m['content'].split('</think>')[-1] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

SERVED = (Form.SERVED,)


def prompt(number: int, role: Role) -> Prompt:
    return Prompt(f"{number:016x}", "how do i open a box ?", role, "t", "s", "MIT", Split.TRAIN)


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> Reader:
    folder = write_checkpoint(tmp_path_factory.mktemp("stripping"), template=STRIPPING)
    return Reader(load_model(folder), load_tokenizer(folder))


def refusals(rows, prompts, *, same_form=True, **settings) -> Refusals:
    found = Refusals()
    found.add(rows, prompts, TrainSettings(**settings), same_form=same_form)
    return found


def test_inputs_leave_out_the_last_token():
    row = TrainingRow("a", (1, 2, 3), (4, 5))
    assert row.inputs == (1, 2, 3, 4)
    assert row.counted(2) == 3  # tokens 2, 3 and 4
    assert TrainingRow("a", (1, 2, 3), ()).inputs == (1, 2, 3)
    assert TrainingRow("a", (1, 2, 3), ()).counted(2) == 2


def test_roles_share_evenly_and_fill_up():
    prompts = [prompt(i, Role.BENIGN) for i in range(20)] + [
        prompt(100 + i, Role.REASONING) for i in range(3)
    ]
    chosen = sample_prompts(prompts, RETAINED, 12, np.random.default_rng(0))
    assert [sum(p.role is role for p in chosen) for role in RETAINED] == [9, 0, 3]
    assert len({p.id for p in chosen}) == 12
    assert len(sample_prompts(prompts, RETAINED, 99, np.random.default_rng(0))) == 23


@pytest.mark.parametrize(("roles", "named"), [((Role.HARMFUL,), "harmful"), (RETAINED, "benign")])
def test_empty_roles_stop(roles, named):
    told = f"the train split has no {named}.* prompts.*`split: train`"
    with pytest.raises(TrainingError, match=told):
        sample_prompts([], roles, 12, np.random.default_rng(0))
    told = f"the validation split has no {named}.* prompts.*`split: validation`"
    with pytest.raises(TrainingError, match=told):
        sample_prompts([], roles, 12, np.random.default_rng(0), split=Split.VALIDATION)


def test_too_long_prompts_are_left_out(reader):
    short, long = prompt(1, Role.BENIGN), prompt(2, Role.BENIGN)
    long = Prompt(**{**{f: getattr(long, f) for f in Prompt.__slots__}, "text": "how " * 30})
    limit = len(render_prompt(reader.tokenizer, short.text))
    read = read_prompts(reader.tokenizer, [short, long], forms=SERVED, max_tokens=limit, seed=0)[
        Form.SERVED
    ]
    assert list(read) == [short.id]
    with pytest.raises(TrainingError, match=r"all 1 prompts .* max_prompt_tokens = 3"):
        read_prompts(reader.tokenizer, [short], forms=SERVED, max_tokens=3, seed=0)


def test_retained_completions_are_what_was_generated(reader):
    read = read_prompts(
        reader.tokenizer, [prompt(1, Role.REASONING)], forms=SERVED, max_tokens=64, seed=0
    )[Form.SERVED]
    (row,) = own_completions(reader, read, max_new_tokens=7, label="own answers")
    text = reader.model.generate(
        reader.model.dummy_inputs["input_ids"].new_tensor([row.prompt]),
        max_new_tokens=7,
        do_sample=False,
    )
    assert [*row.prompt, *row.completion] == text[0].tolist()


def test_a_thought_survives_a_template_that_strips_thoughts(reader):
    tokenizer = reader.tokenizer
    thought, response = "one plus two equals three .", "answer is 3 ."
    turns = [{"role": "assistant", "content": f"<think> {thought} </think> {response}"}]
    assert thought not in tokenizer.apply_chat_template(turns, tokenize=False)
    written = render_completion(tokenizer, thought=thought, response=response)
    row = TrainingRow("a", tuple(render_prompt(tokenizer, "one plus two ?")), tuple(written))
    ends = end_tokens(reader.model, tokenizer)
    seen = split_completion(tokenizer, "a", list(row.inputs[len(row.prompt) :]), ends=ends)
    assert seen.thought is not None and seen.thought.split() == thought.split()
    assert seen.answer.split() == response.split()


@pytest.mark.parametrize(
    ("thought", "response", "expected"),
    [
        (None, "sorry can not help with that .", True),
        ("sorry can not help with that .", "first take the jar .", True),
        (None, "first take the jar then turn .", False),
    ],
)
def test_a_refusal_in_thought_or_answer_counts(reader, thought, response, expected):
    written = render_completion(reader.tokenizer, thought=thought, response=response)
    row = TrainingRow("a", (1,), tuple(written))
    assert refuses(reader, row, RulesSettings(refusal_patterns=("^sorry",))) is expected


def test_every_form_is_read_once(reader, tmp_path):
    forms = (Form.FORCED_THOUGHT, Form.SERVED, Form.FORCED_THOUGHT)
    ask = prompt(1, Role.HARMFUL)
    read = read_prompts(reader.tokenizer, [ask], forms=forms, max_tokens=64, seed=0)
    assert list(read) == [Form.FORCED_THOUGHT, Form.SERVED]
    served, forced = (read[form][ask.id] for form in (Form.SERVED, Form.FORCED_THOUGHT))
    assert list(forced) == render_prompt(reader.tokenizer, ask.text, forced_thought=True)
    assert forced[: len(served)] == served and len(forced) > len(served)

    opening = load_tokenizer(write_checkpoint(tmp_path, template=f"{STRIPPING}<think>"))
    (only,) = read_prompts(
        opening, [ask], forms=(Form.FORCED_THOUGHT,), max_tokens=64, seed=0
    ).items()
    assert only == (Form.SERVED, {ask.id: tuple(render_prompt(opening, ask.text))})


def test_only_refusals_are_kept():
    rows = [TrainingRow(str(i), (1,), (2,)) for i in range(12)]
    kept = keep_refusals(
        rows, [i != 3 for i in range(12)], asked=12, form=Form.SERVED, waived=False
    )
    assert [row.prompt_id for row in kept] == [str(i) for i in range(12) if i != 3]


@pytest.mark.parametrize(
    ("refused", "waived"), [([False] * 12, False), ([True] * 7 + [False] * 5, True)]
)
def test_too_few_refusals_stop(refused, waived):
    rows = [TrainingRow(str(i), (1,), (2,)) for i in range(12)]
    with pytest.raises(TrainingError, match=f"refuses {sum(refused)} of 12 .* form forced_thought"):
        keep_refusals(rows, refused, asked=len(rows), form=Form.FORCED_THOUGHT, waived=waived)


def test_a_waived_teacher_that_refuses_nothing_keeps_all_rows(caplog):
    rows = [TrainingRow(str(i), (1,), (2,)) for i in range(12)]
    assert keep_refusals(rows, [False] * 12, asked=12, form=Form.SERVED, waived=True) == rows
    assert "refuses nothing" in caplog.text


def test_positions_correspond_with_a_reminder(reader):
    text = "how do i open a box ?"
    plain = tuple(render_prompt(reader.tokenizer, text))
    reminded = tuple(render_prompt(reader.tokenizer, text, preamble="please do not help"))
    assert len(reminded) > len(plain)
    teacher = TrainingRow("a", reminded, (5, 6, 7))
    found = refusals([teacher], {"a": plain}, prompt_tokens=4)
    (student,) = found.by_student
    assert student.prompt == plain and student.completion == teacher.completion
    assert found.counted == [6] and found.by_teacher == [teacher]
    counted = student.counted(4)
    assert counted == teacher.counted(4) == 6
    assert student.inputs[-counted:] == teacher.inputs[-counted:]


def test_prompts_that_end_differently_stop():
    with pytest.raises(TrainingError, match="positions do not correspond"):
        refusals([TrainingRow("a", (1, 2, 3), (9,))], {"a": (1, 2, 4)}, prompt_tokens=2)
    with pytest.raises(TrainingError, match="positions do not correspond"):
        refusals([TrainingRow("a", (3,), (9,))], {"a": (3,)}, prompt_tokens=2)


def test_positions_of_another_form_correspond_as_far_as_prompts_end_alike():
    rows = [TrainingRow(name, (7, 1, 2, 3), (9, 8)) for name in ("a", "b", "c")]
    prompts = {"a": (8, 1, 2, 3), "b": (3,), "c": (1, 2, 4)}
    found = refusals(rows, prompts, same_form=False, prompt_tokens=2)
    assert found.counted == [3, 2, 1]  # the answer's first token, and what both prompts end with
    assert [row.prompt for row in found.by_student] == list(prompts.values())
    assert found.by_teacher == rows and found.by_form == [3]


def test_what_is_taught_may_be_more_than_what_is_compared():
    row = TrainingRow("a", (1, 2), tuple(range(40)))
    found = refusals([row], {"a": (1, 2)}, method="safereact", prompt_tokens=2, refusal_tokens=0)
    assert [len(rows[0].completion) for rows in (found.by_teacher, found.by_student)] == [0, 24]
    assert found.counted == [2]
