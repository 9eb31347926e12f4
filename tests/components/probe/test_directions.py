"""Refusal axes and separation on states with known answers."""

from __future__ import annotations

import math

import pytest
import torch

from components.core.errors import DataError
from components.core.vocabulary import Role
from components.probe.directions import refusal_axis, separation

# Two layers, two prompts a class, two features: (layer, prompt, hidden).
HARMFUL = torch.tensor([[[3.0, 4.0], [5.0, 4.0]], [[1.0, 0.0], [3.0, 0.0]]])
BENIGN = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 2.0]]])


def test_direction_is_the_unit_difference_in_means():
    # Layer 1: (4,4) - (1,0) = (3,4), length 5. Layer 2: (2,0) - (0,1) = (2,-1), length sqrt 5.
    axis = refusal_axis({Role.HARMFUL: HARMFUL, Role.BENIGN: BENIGN})
    expected = torch.tensor([[0.6, 0.8], [2 / math.sqrt(5), -1 / math.sqrt(5)]])
    torch.testing.assert_close(axis.directions, expected)
    torch.testing.assert_close(axis.lengths, torch.tensor([5.0, math.sqrt(5)]))
    torch.testing.assert_close(axis.origins, torch.tensor([0.6, -1 / math.sqrt(5)]))


def test_the_axis_runs_from_the_benign_to_the_harmful_mean():
    axis = refusal_axis({Role.HARMFUL: HARMFUL, Role.BENIGN: BENIGN})
    # Layer 1: (1,0) + t (3,4), and along (4,-3) nothing changes.
    states = torch.tensor([[1.0, 0.0], [4.0, 4.0], [2.5, 2.0], [2.5 + 4, 2.0 - 3], [-2.0, -4.0]])
    expected = torch.tensor([0.0, 1.0, 0.5, 0.5, -1.0])
    torch.testing.assert_close(axis.project(states, 1), expected)
    assert axis.project(torch.tensor([[2.0, 0.0]]), 2).item() == pytest.approx(1)


def test_no_difference_in_means_is_an_error():
    equal = torch.stack((HARMFUL[0], BENIGN[1]))
    with pytest.raises(DataError, match="same mean state at layer 2"):
        refusal_axis({Role.HARMFUL: equal, Role.BENIGN: BENIGN})


def test_separation_by_hand():
    # Layer 1: 5 over the mean of 5, sqrt 41, 1, 1. Layer 2: sqrt 5 over the mean of 1, 3, 0, 2.
    assert separation(HARMFUL[0], BENIGN[0]) == pytest.approx(5 / ((5 + math.sqrt(41) + 2) / 4))
    assert separation(HARMFUL[1], BENIGN[1]) == pytest.approx(math.sqrt(5) / 1.5)
