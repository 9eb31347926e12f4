"""Masked, unlearnt or not perceived: the rule on made-up figures, the interventions on a model."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from components.core.vocabulary import Outcome, Role
from components.lm.chat import render_prompt
from components.lm.loading import load_model, load_tokenizer
from components.lm.states import backbone, captured_states, changed_states
from components.probe.answers import Loaded, answer
from components.probe.directions import Axis
from components.probe.masking import Intervening, patching, trace_base, write_greedily
from tests.masking import masking, put_in, transfer


@pytest.mark.parametrize(
    ("found", "finding"),
    [
        (masking(put_in(harmful=40), alone=36), "kept"),
        (masking(put_in(harmful=36)), "masked"),
        (masking(put_in(), put_in("begin", harmful=20)), "masked"),
        # The direction is what benign prompts lack: they may be turned down as well.
        (masking(put_in("add", harmful=40, benign=40)), "masked"),
        (masking(put_in("patch", harmful=40, benign=40)), "unlearnt"),
        (masking(put_in("begin", harmful=40, benign=40)), "unlearnt"),
        # A random direction of the same length does as much.
        (masking(put_in("add", harmful=40, control=38)), "unlearnt"),
        # Less than half is brought back.
        (masking(put_in(harmful=19)), "unlearnt"),
        # It is no more than the model refuses as it is.
        (masking(put_in(harmful=22), alone=20), "unlearnt"),
        (masking(), "unlearnt"),
        (masking(seen=transfer(0.8, low=0.69)), "not perceived"),
        # Random directions tell the prompts as well: harm is no less visible for it.
        (masking(put_in(harmful=40), seen=transfer(0.9, low=0.85, chance=0.95)), "masked"),
    ],
)
def test_the_rule(found, finding):
    assert found.finding == finding


def test_what_is_named_is_the_best():
    found = masking(put_in(harmful=25), put_in("begin", harmful=38), put_in("add", harmful=30))
    assert found.restoring.kind == "begin"
    assert found.perceived.layer == 2 and found.perceived.auc.low == 0.94


@pytest.fixture
def pair(random_models):
    def opened(name):
        folder = random_models.folder / name
        model = load_model(folder, device=torch.device("cpu"))
        return Loaded(model, load_tokenizer(folder), batch=3)

    return opened("base"), opened("post-trained")


@pytest.fixture
def rows(random_prompts):
    return random_prompts.rows()[:4]


def test_patched_states_by_hand():
    given, states = torch.ones(1, 3, 2), torch.zeros(1, 3, 2)
    assert torch.equal(patching(given, "all", None)(states), given)
    assert patching(given, "last", None)(states)[0].tolist() == [[0, 0], [0, 0], [1, 1]]
    written = torch.zeros(1, 1, 2)
    assert patching(given, "all", None)(written) is written


def test_the_control_moves_every_state_as_far_elsewhere():
    generator = torch.Generator().manual_seed(0)
    given, states = (torch.randn(2, 3, 64, generator=generator) for _ in range(2))
    moved = patching(given, "all", generator)(states)
    torch.testing.assert_close((moved - states).norm(dim=-1), (given - states).norm(dim=-1))
    cosine = torch.nn.functional.cosine_similarity(moved - states, given - states, dim=-1)
    assert cosine.abs().max() < 0.6
    last = patching(given, "last", generator)(states)
    assert torch.equal(last[:, :-1], states[:, :-1]) and not torch.equal(last, states)


def test_changed_states_are_those_that_are_captured(pair):
    model = pair[0].model
    ids = torch.tensor([[1, 5, 7, 9]])
    depth = len(backbone(model).layers)
    for layer in (1, depth):  # the last one is read, and changed, behind the final norm
        with captured_states(model, [layer]) as states:
            model(input_ids=ids)
        before = states[layer].clone()
        with changed_states(model, layer, lambda s: s + 1), captured_states(model, [layer]) as now:
            changed = model(input_ids=ids).logits
        torch.testing.assert_close(now[layer], before + 1)
        assert not torch.allclose(changed, model(input_ids=ids).logits)


def test_greedy_completions_are_those_of_the_engine(pair, rows):
    loaded = pair[0]
    expected = [one.written for one in answer(loaded, rows, max_new_tokens=7, label="x")]
    written = write_greedily(loaded, rows, max_new_tokens=7)
    cut = [own[: len(one)] for own, one in zip(written, expected, strict=True)]
    assert cut == expected


def traced(loaded, rows):
    answers = {
        Role.HARMFUL: answer(loaded, rows[:2], max_new_tokens=5, label="x"),
        Role.BENIGN: answer(loaded, rows[2:], max_new_tokens=5, label="x"),
    }
    return answers, trace_base(loaded, answers, lambda _: Outcome.REFUSED, prompts=9)


def intervening(loaded, trace, judge=lambda _: Outcome.REFUSED):
    depth, hidden = len(backbone(loaded.model).layers), loaded.model.config.hidden_size
    unit = torch.eye(hidden)[:depth]
    axis = Axis(unit, torch.zeros(depth), torch.full((depth,), 2.0))
    return Intervening(loaded, trace, axis, judge, 5, seed=0)


def test_own_states_change_nothing_and_the_last_layers_make_the_bases_first_token(pair, rows):
    base, tuned = pair
    answers, trace = traced(base, rows)
    assert (trace.asked.count, trace.asked.n) == (2, 2)
    said = []
    judge = lambda text: said.append(text) or Outcome.COMPLIED  # noqa: E731
    for layer in (1, 3):
        intervening(base, trace, judge)._patched(Role.HARMFUL, layer, "all")
    assert said == [one.judged for one in answers[Role.HARMFUL]] * 2
    states = trace.states[Role.HARMFUL][0][3]
    with changed_states(tuned.model, 3, patching(states, "last", None)):
        weight = tuned.model.lm_head.weight.detach()
        expected = (states[:, -1].clone() @ weight.T).argmax(dim=-1).tolist()
        written = write_greedily(tuned, trace.rows[Role.HARMFUL], max_new_tokens=2)
    assert [own[0] for own in written] == expected


def test_every_intervention_has_its_controls(pair, rows):
    _, trace = traced(pair[0], rows)
    found = intervening(pair[1], trace, lambda text: Outcome.COMPLIED).every()
    assert [(one.kind, one.layer, one.tokens, one.amount) for one in found] == [
        *(("patch", layer, tokens, 1) for tokens in ("last", "all") for layer in (1, 2, 3)),
        *(("add", 2, None, strength) for strength in (0.25, 1, 2, 4)),
        *(("begin", None, None, count) for count in (1, 2, 4)),
    ]
    assert all((one.harmful.n, one.control.n, one.benign.n) == (2, 2, 2) for one in found)


def test_a_beginning_is_shorter_than_every_refusal(pair, rows):
    _, trace = traced(pair[0], rows)
    short = replace(trace, written={role: [[9, 8, 7], [9, 8]] for role in trace.written})
    assert [one.amount for one in intervening(pair[1], short).beginnings()] == [1]


def test_only_what_is_written_behind_a_beginning_is_judged(pair, rows):
    base, tuned = pair
    _, trace = traced(base, rows)
    own = replace(trace, written={role: [[9, 8, 7]] * 2 for role in trace.written})
    said = []
    judge = lambda text: said.append(text) or Outcome.COMPLIED  # noqa: E731
    found = intervening(tuned, own, judge)._begun(Role.HARMFUL, own.written[Role.HARMFUL], 2)
    prompt = render_prompt(tuned.tokenizer, rows[0].text)
    (expected,) = write_behind(tuned, [*prompt, 9, 8], 5)
    assert said[0] == tuned.tokenizer.decode(expected).split("<|end|>")[0].strip()
    assert found.count == 0


def write_behind(loaded, ids, count):
    """Return the greedy tokens behind `ids`, by whole passes."""
    written = []
    with torch.inference_mode():
        while len(written) < count and 2 not in written:  # 2 ends a turn
            logits = loaded.model(input_ids=torch.tensor([[*ids, *written]])).logits
            written.append(int(logits[0, -1].argmax()))
    return [written]


def test_who_completes_the_bases_refusal_word_for_word_refuses(pair, rows):
    """The rest of a refusal need not read as one: "help with that"."""
    base = pair[0]
    _, trace = traced(base, rows)
    put = intervening(base, trace, lambda _: Outcome.COMPLIED)  # the base completes its own
    assert put._begun(Role.HARMFUL, trace.written[Role.HARMFUL], 2).count == 2
    assert put._begun(Role.HARMFUL, trace.written[Role.BENIGN], 2).count == 0


def test_a_base_that_refuses_nothing_has_nothing_masked(pair, rows):
    answers, _ = traced(pair[0], rows)
    assert trace_base(pair[0], answers, lambda _: Outcome.COMPLIED, prompts=9) is None
