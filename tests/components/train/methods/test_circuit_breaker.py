"""Circuit breakers: the loss by hand, and states that do turn away."""

from __future__ import annotations

import math

import pytest
import torch

from components.train.methods.circuit_breaker import mean_positive_cosine, rerouting_layers
from components.train.methods.safereact import mean_distance


def test_layers_lie_at_a_third_and_two_thirds():
    assert rerouting_layers(32) == (10, 21)
    assert rerouting_layers(30) == (10, 20)
    assert rerouting_layers(2) == (1,)
    assert rerouting_layers(1) == (1,)


def test_the_cosine_of_a_batch_by_hand():
    """Two rows of two positions at one layer; the last position of the second row is padding."""
    states = torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[3.0, 4.0], [9.0, 9.0]]])
    mask = torch.tensor([[True, True], [True, False]])
    targets = torch.tensor([[[2.0, 0.0]], [[0.0, -1.0]], [[4.0, 3.0]]])  # cosines 1, -1, 0.96
    found = mean_positive_cosine([states], targets, mask, positions=3)
    assert found.item() == pytest.approx((1 + 0 + 0.96) / 3)
    half = mean_positive_cosine([states], targets, mask, positions=6)
    assert half.item() == pytest.approx(found.item() / 2), "a part of a larger step"
    twice = torch.cat((targets, -targets), dim=1)
    both = mean_positive_cosine([states, states], twice, mask, positions=3)
    assert both.item() == pytest.approx(((1 + 0 + 0.96) / 3 + (0 + 1 + 0) / 3) / 2)


def test_further_targets_than_states_take_no_part():
    """The retained side may hold more layers than are rerouted."""
    states, mask = torch.ones(1, 2, 3), torch.ones(1, 2, dtype=torch.bool)
    targets = torch.stack((torch.zeros(2, 3), torch.full((2, 3), 99.0)), dim=1)
    assert mean_distance([states], targets, mask, positions=2).item() == pytest.approx(math.sqrt(3))
