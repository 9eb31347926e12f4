"""Controls on the random pair: the same prompts, and other targets than the teacher's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from components.core.errors import TrainingError
from components.core.vocabulary import Role, Split
from components.studies.baselines.controls import Answering, Shuffled, derangement
from components.train.answers import own_completions
from components.train.data import TrainingData
from components.train.teacher import open_teacher

FORMS = ("served", "role-play")


@pytest.fixture
def opened(quick, random_prompts, random_models, make_probe, tmp_path):
    def open_data(kind, **changes):
        settings = quick.model_copy(update={"forms": FORMS, "prompt_tokens": 3, **changes})
        return kind(settings, random_prompts, random_models, make_probe(), 0, tmp_path)

    return open_data


@pytest.mark.parametrize("count", [2, 3, 12])
def test_nothing_keeps_its_place(count):
    for seed in range(5):
        order = derangement(count, np.random.default_rng(seed))
        assert sorted(order) == list(range(count))
        assert all(order[i] != i for i in range(count))


def test_shuffled_rows_have_another_prompts_completion_states_and_next_tokens(opened):
    own, dealt = (opened(kind).teacher_data() for kind in (TrainingData, Shuffled))
    ids = [row.prompt_id for row in own.rows.rows]
    assert own.by_form == [12, 12] and len(ids) == 24
    assert [row.prompt_id for row in dealt.rows.rows] == ids
    assert [row.prompt for row in dealt.rows.rows] == [row.prompt for row in own.rows.rows]
    found = own.rows.stored, dealt.rows.stored
    sources = []
    for i in range(24):
        states, likely = found[1].states([i]), found[1].likely([i])
        same = [
            k
            for k in range(24)
            if found[0].states([k]).shape == states.shape
            and torch.equal(found[0].states([k]), states)
        ]
        (k,) = same
        assert k // 12 == i // 12, "of another form"
        assert torch.equal(found[0].likely([k]).tokens, likely.tokens)
        assert dealt.rows.rows[i].completion == own.rows.rows[k].completion
        assert dealt.refusals[i].completion == own.refusals[k].completion
        assert dealt.rows.counted[i] == own.rows.counted[k] == len(states)
        sources.append(k)
    assert sorted(sources) == list(range(24)) and all(i != k for i, k in enumerate(sources))
    again = opened(Shuffled).teacher_data()
    assert again.rows.rows == dealt.rows.rows, "the seed decides"


def test_answers_to_benign_prompts_stand_in_the_place_of_refusals(
    opened, random_prompts, random_models
):
    own, data = opened(TrainingData).teacher_data(), opened(Answering)
    answering = data.teacher_data()
    assert [r.prompt for r in answering.rows.rows] == [r.prompt for r in own.rows.rows]
    benign = [
        prompt for prompt in random_prompts.rows(split=Split.TRAIN) if prompt.role is Role.BENIGN
    ]
    with open_teacher(random_models, data.probe) as teacher:
        answers = [
            {
                row.completion
                for row in own_completions(teacher, prompts, max_new_tokens=6, label="again")
            }
            for prompts in data._read(benign).values()
        ]
    for i, row in enumerate(answering.refusals):
        assert row.completion in answers[i // 12], "no answer to a benign prompt of its form"
    assert len({row.completion for row in answering.refusals}) > 1
    batch = answering.rows.batch([0, 13], step=[0, 13])
    assert batch.states is not None and len(batch.states) == int(batch.mask.sum())
    assert batch.likely is not None and len(batch.likely.tokens) == int(batch.predicting.sum())
    assert opened(Answering).teacher_data().rows.rows == answering.rows.rows


def test_answers_are_compared_where_the_refusals_were(opened, thoughtless):
    """Behind a begun answer student and teacher have no token of the prompt in common."""
    behind = {"forms": ("served", "prefilled"), "teacher_reads": "plain"}
    rows = opened(Answering, **behind).teacher_data().rows
    shared = [count - row.counted(0) for count, row in zip(rows.counted, rows.rows, strict=True)]
    assert shared == [3] * 12 + [0] * 12


@pytest.mark.parametrize("control", [Shuffled, Answering])
def test_samples_of_the_student_have_no_control(opened, control):
    with pytest.raises(TrainingError, match="learns from samples of the student"):
        opened(control).sampled_rows(4, 0, None)
