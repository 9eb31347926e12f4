"""Which directions are tried, and which is taken out."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from components.core.errors import EvidenceError
from components.core.vocabulary import Role, Split
from components.lm.chat import render_prompt
from components.lm.loading import load_model, load_tokenizer
from components.studies.withstand.directions import (
    Direction,
    Tried,
    candidate_layers,
    own_directions,
    stored_directions,
    strongest,
)


@pytest.mark.parametrize(
    ("depth", "count", "expected"),
    [
        (10, 4, [2, 4, 6, 8]),
        (10, 99, [1, 2, 3, 4, 5, 6, 7, 8]),
        (32, 8, [3, 6, 9, 12, 15, 18, 21, 25]),
        (3, 8, [1, 2]),
        (1, 8, [1]),
    ],
)
def test_layers_are_spread_over_the_first_four_fifths(depth, count, expected):
    assert candidate_layers(depth, count) == expected


def test_stored_directions_are_those_of_their_layers(tmp_path):
    path = tmp_path / "directions.safetensors"
    save_file({"base": torch.eye(4), "post_trained": 2 * torch.eye(4)}, path)
    found = stored_directions(path, "post-trained", [1, 3])
    assert [(d.of, d.layer) for d in found] == [("post-trained", 1), ("post-trained", 3)]
    assert found[1].vector.tolist() == [0, 0, 2, 0]
    with pytest.raises(EvidenceError, match=r"base model's directions at layers \[5\]"):
        stored_directions(path, "base", [5])
    with pytest.raises(EvidenceError, match="run the stage probe again"):
        stored_directions(tmp_path / "none.safetensors", "base", [1])


@torch.inference_mode()
def test_own_directions_are_differences_in_means(random_models, random_prompts):
    folder = random_models.folder / "post-trained"
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    prompts = [p for p in random_prompts.rows(split=Split.TRAIN) if p.role is not Role.REASONING]
    found = own_directions(model, tokenizer, prompts, layers=[1, 2], batch=5)
    assert [(d.of, d.layer) for d in found] == [("own", 1), ("own", 2)]
    means = []
    for role in (Role.HARMFUL, Role.BENIGN):
        states = [
            model(
                torch.tensor([render_prompt(tokenizer, p.text)]), output_hidden_states=True
            ).hidden_states[2][0, -1]
            for p in prompts
            if p.role is role
        ]
        means.append(torch.stack(states).mean(dim=0))
    torch.testing.assert_close(found[1].vector, means[0] - means[1], atol=1e-5, rtol=1e-4)


@pytest.fixture
def choose(random_models):
    """A function that chooses among directions whose effects are given, the whole model's first."""
    model = load_model(random_models.folder / "base")

    def run(whole: Tried, *effects: Tried, min_coherent: float = 0.9) -> tuple[int, bool]:
        answers = iter((whole, *effects))
        directions = [Direction("own", i, torch.ones(32)) for i in range(1, len(effects) + 1)]
        told = []

        def ask(direction):
            told.append(direction)
            return next(answers)

        found, kept = strongest(model, directions, ask, min_coherent=min_coherent)
        assert told == [None, *directions]
        return found.layer, kept

    return run


def test_the_direction_that_leaves_fewest_refusals_is_taken(choose):
    assert choose(Tried(20, 20), Tried(9, 20), Tried(3, 18), Tried(3, 20)) == (2, True)


def test_a_direction_that_breaks_the_model_is_passed_over(choose):
    assert choose(Tried(20, 20), Tried(9, 19), Tried(0, 17)) == (1, True)
    # What is left is counted against the whole model's own language.
    assert choose(Tried(20, 10), Tried(9, 9), Tried(0, 8)) == (1, True)


def test_where_all_break_it_the_least_broken_is_told_apart(choose):
    assert choose(Tried(20, 20), Tried(0, 3), Tried(5, 17), Tried(0, 0)) == (2, False)
