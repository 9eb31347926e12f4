"""A teacher is judged in training by as much as in its check; how much it teaches is apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from components.core.errors import TrainingError
from components.core.vocabulary import Form, Role
from components.judges.settings import RulesSettings
from components.lm.attacks import BEGUN
from components.lm.chat import render_completion
from components.lm.loading import load_model, load_tokenizer
from components.train.answers import behind_thought, own_completions
from components.train.data import MAX_REFERENCE_BYTES, TrainingData
from components.train.rows import TrainingRow
from components.train.settings import PROMPT_ONLY_TOKENS, EarlyStopSettings
from components.train.teacher import Reader

THOUGHT = "first take the jar then turn the lamp . " * 4
REFUSAL = "sorry can not help with that ."
FORMS = (Form.SERVED, Form.PREFILLED, Form.ROLE_PLAY)


@pytest.fixture
def written(random_models, monkeypatch) -> list[int]:
    """What a teacher writes that refuses behind a long thought, cut where it must stop."""
    tokenizer = load_tokenizer(random_models.folder / "base")
    ids = render_completion(tokenizer, thought=THOUGHT, response=REFUSAL)
    monkeypatch.setattr(
        "components.train.answers.generate",
        lambda _model, _tokenizer, prompts, *, max_new_tokens, **_: [
            ids[:max_new_tokens] for _ in prompts
        ],
    )
    return ids


@pytest.fixture
def make_data(quick, random_prompts, random_models, make_probe, tmp_path):
    """A function that returns training data whose teacher's check saw so many tokens."""

    def make(name: str = "data", *, check_tokens: int, waived: bool = False, **changes):
        rules = RulesSettings(refusal_patterns=("^sorry",))
        settings = quick.model_copy(update={"rules": rules, **changes})
        probe = make_probe(refused=0.0 if waived else 1.0)
        probe = probe.model_copy(update={"check_tokens": check_tokens})
        return TrainingData(settings, random_prompts, random_models, probe, 0, tmp_path / name)

    return make


@pytest.mark.parametrize(
    ("refusal_tokens", "taught"), [(6, 6), (0, PROMPT_ONLY_TOKENS)], ids=["refusal", "prompt only"]
)
def test_a_refusal_behind_a_long_thought_counts(make_data, written, refusal_tokens, taught):
    data = make_data(refusal_tokens=refusal_tokens, check_tokens=len(written)).teacher_data()
    assert (data.refused, data.prompts) == (12, 12)
    assert {row.completion for row in data.refusals} == {tuple(written[:taught])}
    assert {row.completion for row in data.rows.rows} == {tuple(written[:refusal_tokens])}
    assert set(data.rows.counted) == {2 + max(refusal_tokens - 1, 0)}
    assert [len(data.rows.stored.states([i])) for i in range(12)] == list(data.rows.counted)


def test_a_refusal_beyond_both_limits_does_not(make_data, written):
    with pytest.raises(TrainingError, match="refuses 0 of 12"):
        make_data(check_tokens=len(written) // 2).teacher_data()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"refused": "x", "prompts": 1, "by_form": 2}'])
def test_counts_of_a_teacher_that_are_broken_are_one_message(make_data, written, text):
    data = make_data(check_tokens=len(written))
    data.teacher_data()
    (counts,) = data.scratch.rglob("counts.json")
    counts.write_text(text)
    with pytest.raises(TrainingError, match=f"{counts.parent} cannot be read .*delete that folder"):
        data.teacher_data()


def test_a_shorter_check_changes_nothing(make_data):
    first, second = (make_data(str(n), waived=True, check_tokens=n).teacher_data() for n in (1, 6))
    assert first.refusals == second.refusals and first.rows.rows == second.rows.rows
    assert {len(row.completion) for row in first.refusals} == {6}
    for i in range(12):
        assert first.rows.stored.states([i]).equal(second.rows.stored.states([i]))


def test_large_references_are_not_stored(make_data, monkeypatch):
    assert MAX_REFERENCE_BYTES == 2**31
    stored = make_data("stored", check_tokens=1).retained_rows(2)
    monkeypatch.setattr("components.train.data.MAX_REFERENCE_BYTES", 100)
    bare = make_data("bare", check_tokens=1).retained_rows(2)
    assert bare.stored.states([0]) is None and stored.stored.states([0]) is not None
    assert bare.rows == stored.rows and bare.counted == stored.counted


def test_answers_are_asked_for_once_whatever_is_held_of_them(make_data, monkeypatch):
    data = make_data("held", check_tokens=1)
    states, tokens = data.retained_rows(2), data.retained_rows(0)
    monkeypatch.setattr("components.train.answers.own_completions", None)  # nobody asks again
    alone = data.retained_rows(None)
    assert states.rows == tokens.rows == alone.rows
    assert states.stored.states([0]) is not None and tokens.stored.states([0]) is None
    assert tokens.stored.likely([0]).tokens.equal(states.stored.likely([0]).tokens)
    assert alone.stored is None


def test_a_teacher_that_reads_plain_prompts_teaches_its_answers_to_them(
    make_data, thoughtless, monkeypatch
):
    asked: list[int] = []

    def counting(reader, prompts, **options):
        asked.append(len(prompts))
        return own_completions(reader, prompts, **options)

    monkeypatch.setattr("components.train.answers.own_completions", counting)
    data = make_data(forms=FORMS, teacher_reads="plain", check_tokens=1, waived=True)
    rows = data.teacher_data().rows
    served, prefilled, role_play = (range(n, n + 12) for n in (0, 12, 24))
    assert asked == [12, 0, 0]  # once a prompt, whatever the student reads
    begun = render_completion(data.tokenizer, thought=None, response=BEGUN)[:-1]
    for plain, behind, scene in zip(served, prefilled, role_play, strict=True):
        assert rows.rows[behind].prompt[-len(begun) :] == tuple(begun)
        assert len({rows.rows[i].completion for i in (plain, behind, scene)}) == 1
        likely = [rows.stored.likely([i]).tokens for i in (plain, behind, scene)]
        assert likely[0].equal(likely[1]) and likely[0].equal(likely[2])
        # The states at the ends of prompts correspond where these are the same.
        assert [rows.counted[i] for i in (plain, behind, scene)] == [7, 5, 7]


def test_no_thought_is_taught_behind_a_begun_answer(make_data, written):
    options = {
        "forms": FORMS,
        "refusal_tokens": 60,
        "retain_tokens": 60,
        "check_tokens": len(written),
    }
    data = make_data("plain", teacher_reads="plain", retain_reads="plain", **options)
    refusal = tuple(render_completion(data.tokenizer, thought=None, response=REFUSAL))
    taught, likely = data.teacher_data().rows, lambda i: taught.stored.likely([i]).logprobs
    assert [row.completion for row in taught.rows[:12]] == [tuple(written)] * 12
    assert [row.completion for row in taught.rows[12:24]] == [refusal] * 12
    assert [row.completion for row in taught.rows[24:]] == [tuple(written)] * 12
    for i in range(12):  # the teacher has thought, the student has not
        assert likely(12 + i).equal(likely(i)[-len(refusal) :])
    held = data.retained_rows(0).rows
    begun = held[len(held) // 3 : 2 * len(held) // 3]
    problems = {row.id for row in data.prompts.rows(role=Role.REASONING)}
    assert {row.completion for row in begun if row.prompt_id not in problems} == {refusal}
    assert {row.completion for row in begun if row.prompt_id in problems} == {tuple(written)}
    short = data.settings.model_copy(update={"retain_tokens": 20})
    with pytest.raises(TrainingError, match=r"the benign, borderline prompts .* 20 tokens"):
        replace(data, settings=short, scratch=data.scratch / "cut").retained_rows(0)


def test_a_teacher_that_only_thinks_is_not_taken_for_one_that_was_not_asked(make_data, written):
    data = make_data(forms=FORMS, teacher_reads="plain", refusal_tokens=9, check_tokens=9)
    with pytest.raises(TrainingError, match=r"refuses 0 of 12 .* in the form served"):
        data.teacher_data()
    alone = replace(data, settings=data.settings.model_copy(update={"forms": (Form.PREFILLED,)}))
    with pytest.raises(TrainingError, match=r"12 answers are thoughts alone: raise probe\.check"):
        replace(alone, scratch=data.scratch / "alone").teacher_data()


@pytest.mark.parametrize(
    ("thought", "moved"), [("first take", True), ("", True), (None, False)], ids=str
)
def test_an_empty_thought_is_one_too(random_models, thought, moved):
    folder = random_models.folder / "base"
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    ids = tuple(render_completion(tokenizer, thought=thought, response=REFUSAL))
    bare = tuple(render_completion(tokenizer, thought=None, response=REFUSAL))
    row = behind_thought(Reader(model, tokenizer), TrainingRow("p", (1, 2), ids))
    assert row.completion == bare and row.prompt + row.completion == (1, 2, *ids)
    assert (len(row.prompt) > 2) == moved


def test_retained_prompts_are_answered_under_attacks_as_they_are_without(make_data, thoughtless):
    data = make_data("plain", forms=FORMS, retain_reads="plain", check_tokens=1)
    tokens, states, alone = (data.retained_rows(depth) for depth in (0, 2, None))
    assert tokens.rows == states.rows == alone.rows
    own = make_data("own", forms=FORMS, check_tokens=1).retained_rows(0)
    count = len(tokens.rows) // 3
    served, begun, scene = (range(n, n + count) for n in (0, count, 2 * count))
    problems = {row.id for row in data.prompts.rows(role=Role.REASONING)}
    for plain, *attacked in zip(served, begun, scene, strict=True):
        if tokens.rows[plain].prompt_id in problems:  # are held to what is done under the attack
            assert [tokens.rows[i] for i in attacked] == [own.rows[i] for i in attacked]
            continue
        row, logprobs = tokens.rows[plain], tokens.stored.likely([plain]).logprobs
        assert tokens.counted[plain] == len(row.inputs)
        assert len(states.stored.states([plain])) == len(row.inputs)
        for i in attacked:
            assert tokens.rows[i].prompt != row.prompt
            assert tokens.rows[i].completion == row.completion
            torch.testing.assert_close(tokens.stored.likely([i]).logprobs, logprobs)
            # Positions count where both read the same: the answer, and how the prompts end.
            held = states.stored.states([i])
            assert len(held) == tokens.counted[i] < len(row.inputs)
            torch.testing.assert_close(held, states.stored.states([plain])[-len(held) :])
    assert [row.prompt for row in own.rows] == [row.prompt for row in tokens.rows]
    assert any(own.rows[i].completion != tokens.rows[i].completion for i in (*begun, *scene))
    assert own.counted == [len(row.inputs) for row in own.rows]


def test_states_to_retain_that_are_too_large_cannot_be_of_bare_prompts(make_data, monkeypatch):
    monkeypatch.setattr("components.train.data.MAX_REFERENCE_BYTES", 100)
    plain = make_data("served", forms=("served",), retain_reads="plain", check_tokens=1)
    assert plain.retained_rows(2).stored.states([1]) is None  # each step computes them
    data = make_data("large", forms=FORMS, retain_reads="plain", check_tokens=1)
    with pytest.raises(TrainingError, match="retain_reads: plain"):
        data.retained_rows(2)
    assert data.retained_rows(0).stored.states([0]) is None  # next tokens are always stored


@pytest.mark.parametrize(
    ("forms", "reads", "looked_at"),
    [
        ((Form.SERVED, Form.PREFILLED), "form", 2),
        ((Form.SERVED, Form.PREFILLED), "plain", 1),
        ((Form.PREFILLED, Form.ROLE_PLAY), "plain", 1),
    ],
)
def test_stopping_early_looks_at_states_that_are_to_stay(make_data, forms, reads, looked_at):
    stop = EarlyStopSettings(prompts=6, tokens=3)
    data = make_data(forms=forms, retain_reads=reads, early_stop=stop, check_tokens=1)
    held = data.early_stop().retained
    assert len(held.rows) == 6 * looked_at
    assert list(held.counted) == [len(row.inputs) for row in held.rows]
    if looked_at == 1:
        begun = render_completion(data.tokenizer, thought=None, response=BEGUN)[:-1]
        assert not any(row.prompt[-len(begun) :] == tuple(begun) for row in held.rows)


@pytest.mark.parametrize("targets", [(), (0, 1), (2, 4)])
def test_targets_that_are_no_layers_stop(quick, random_prompts, random_models, make_probe, targets):
    given = (quick, random_prompts, random_models, make_probe(target_layers=targets))
    with pytest.raises(TrainingError, match="1 to 3"):
        TrainingData(*given, 0, Path("scratch"))
