"""Projections by token position against one prompt at a time, and by hand."""

from __future__ import annotations

import math

import pytest
import torch

from components.core.vocabulary import Completion, Prompt, Role, Split
from components.lm.chat import render_prompt
from components.probe.answers import Answer
from components.probe.directions import Axis
from components.probe.positions import SLOTS, project_positions, slots_of

ROW = Prompt("0", "x", Role.HARMFUL, "topic", "test", "MIT", Split.VALIDATION)


def make_answer(tokenizer, text: str, completion: str) -> Answer:
    written = tokenizer.convert_tokens_to_ids(completion.split(" "))
    return Answer(
        ROW, render_prompt(tokenizer, text), written, Completion("0", None, "", True, len(written))
    )


@pytest.fixture
def axis():
    source = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(3, 32, generator=source), dim=-1)
    return Axis(directions, torch.tensor([0.1, -0.2, 0.3]), torch.tensor([0.5, 2.0, 4.0]))


def test_slots_by_hand():
    one = Answer(ROW, list(range(14)), list(range(6)), Completion("0", "", "", True, 6))
    slots = slots_of(one, (range(1, 3), range(4, 5)))
    named = [SLOTS[slot] if slot >= 0 else None for slot in slots]
    assert named == [
        *(None, None),
        *(("prompt", position) for position in range(-12, 0)),
        None,
        ("thought", 0),
        ("thought", 1),
        None,
        ("answer", 0),
        None,
    ]


def test_long_parts_are_read_to_their_24th_token_and_short_prompts_from_their_first():
    one = Answer(ROW, [1, 2], list(range(60)), Completion("0", "", "", True, 60))
    slots = slots_of(one, (range(0), range(5, 60)))
    assert [SLOTS[slot] for slot in slots[:2]] == [("prompt", -2), ("prompt", -1)]
    assert slots[2:7] == [-1] * 5
    assert [SLOTS[slot] for slot in slots[7:31]] == [("answer", k) for k in range(24)]
    assert slots[31:] == [-1] * 31


@pytest.mark.parametrize(
    ("thought", "answer", "ends"),
    [
        (range(1, 61), range(62, 64), range(-12, 0)),  # all twelve
        (range(1, 29), range(30, 32), range(-4, 0)),  # those that are not read from the start
        (range(1, 25), range(26, 28), range(0)),
        (range(1, 64), range(0), range(0)),  # cut off: it has no end
    ],
)
def test_the_end_of_a_thought_is_read_where_its_start_does_not_reach(thought, answer, ends):
    one = Answer(ROW, [1, 2], list(range(64)), Completion("0", "", "", True, 64))
    slots = slots_of(one, (thought, answer))
    found = {SLOTS[slot]: place - 2 for place, slot in enumerate(slots) if slot >= 0}
    read = {
        position: place for (segment, position), place in found.items() if segment == "thought-end"
    }
    assert read == {position: thought[-1] + 1 + position for position in ends}
    assert found["thought", 23] == thought[23]


def slow_values(model, answer: Answer, axis: Axis) -> torch.Tensor:
    """Projections (layer, position) of one unpadded sequence."""
    with torch.no_grad():
        ids = torch.tensor([answer.prompt + answer.written])
        hidden = model(input_ids=ids, output_hidden_states=True).hidden_states
    return torch.stack(
        [
            (hidden[k + 1][0] @ axis.directions[k] - axis.origins[k]) / axis.lengths[k]
            for k in range(3)
        ]
    )


def test_means_and_errors_equal_those_of_single_prompts(random_model, axis):
    model, tokenizer = random_model.model, random_model.tokenizer
    answers = [
        make_answer(tokenizer, "make a jar", "<think> \n one two \n </think> \n 3 4 <|end|>"),
        make_answer(tokenizer, "open the stone door please", "5 6 7 <|end|>"),
        make_answer(tokenizer, "what is it", "<think> one plus"),
    ]
    found = project_positions("base", random_model, {Role.HARMFUL: answers}, axis)
    values = [slow_values(model, answer, axis) for answer in answers]
    lengths = [len(answer.prompt) for answer in answers]
    # The place in each completion, None where there is no such token.
    expected = {
        ("prompt", -1): (-1, -1, -1),
        ("prompt", -3): (-3, -3, -3),
        ("thought", 0): (2, None, 1),
        ("thought", 1): (3, None, 2),
        ("answer", 0): (7, 0, None),
        ("answer", 1): (8, 1, None),
        ("answer", 2): (None, 2, None),
    }
    figures = {(f.layer, f.segment, f.position): f for f in found}
    assert {(s, p) for _, s, p in figures if s != "prompt"} == {k for k in expected if k[1] >= 0}
    for (segment, position), places in expected.items():
        for layer in (1, 2, 3):
            own = torch.tensor(
                [
                    value[layer - 1, length + place]
                    for value, length, place in zip(values, lengths, places, strict=True)
                    if place is not None
                ]
            ).double()
            figure = figures[layer, segment, position]
            assert (figure.model, figure.role, figure.n) == ("base", Role.HARMFUL, len(own))
            assert figure.mean == pytest.approx(own.mean().item(), abs=1e-5)
            if len(own) == 1:
                assert figure.error is None
            else:
                error = own.std().item() / math.sqrt(len(own))
                assert figure.error == pytest.approx(error, abs=1e-5)
