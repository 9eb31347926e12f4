"""Target layers: spread over depth, the last among them."""

from __future__ import annotations

import pytest

from components.core.errors import ConfigError
from components.probe.layers import check_layers, choose_targets, spread


@pytest.mark.parametrize(
    ("layers", "count", "expected"),
    [
        (30, 6, (5, 10, 15, 20, 25, 30)),
        (28, 6, (5, 9, 14, 19, 23, 28)),
        (32, 6, (5, 11, 16, 21, 27, 32)),
        (4, 6, (1, 2, 3, 4)),
        (6, 6, (1, 2, 3, 4, 5, 6)),
        (7, 3, (2, 5, 7)),
        (9, 1, (9,)),
        (1, 6, (1,)),
    ],
)
def test_spread(layers, count, expected):
    assert spread(layers, count) == expected


def test_spread_is_strictly_ascending_to_the_last_layer():
    for layers in range(1, 40):
        for count in range(1, 12):
            taken = spread(layers, count)
            assert len(taken) == min(count, layers)
            assert taken[0] >= 1 and taken[-1] == layers
            assert sorted(set(taken)) == list(taken)


def test_layers_without_separation_are_dropped_but_never_the_last():
    assert choose_targets([0.5, 0.59, 0.6, 0.9], count=6) == (3, 4)
    assert choose_targets([0.9, 0.9, 0.9, 0.5], count=2) == (2, 4)
    assert choose_targets([0.5, 0.5, 0.5], count=6) == (3,)


def test_explicit_layers_are_sorted():
    assert check_layers((3, 1), layers=3) == (1, 3)


@pytest.mark.parametrize("wanted", [(4,), (1, 4), (0,), (), (2, 2)])
def test_layers_that_the_model_does_not_have(wanted):
    with pytest.raises(ConfigError, match="distinct layers from 1 to 3"):
        check_layers(wanted, layers=3)
