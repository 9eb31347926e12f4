"""Ticks that can be read, and which layer is drawn."""

from __future__ import annotations

import pytest

from components.probe.plots import drawn_layer, layer_ticks, share_ticks


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (1, [1]),
        (4, [1, 2, 3, 4]),
        (30, [1, *range(4, 29, 2), 30]),
        (64, [1, *range(5, 61, 5), 64]),
    ],
)
def test_layers(layers, expected):
    assert layer_ticks(layers) == expected


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([0.0155, 0.0555], [0.01, 0.03, 0.1]),
        ([0.03], [0.01, 0.03, 0.1]),
        ([0.7, 30], [0.3, 1, 3, 10, 30, 100]),
        ([1e-7], [3e-8, 1e-7, 3e-7]),
    ],
)
def test_shares_lie_between_the_first_and_the_last_tick(shares, expected):
    assert share_ticks(shares) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("targets", "layers", "expected"),
    [
        ((5, 10, 15, 20, 25, 30), 30, 20),
        ((1, 2, 3, 4), 4, 3),  # 2.67 is nearer to 3
        ((1, 3), 3, 1),  # 2 lies between
        ((28,), 28, 28),
    ],
)
def test_the_target_layer_nearest_to_two_thirds_of_the_depth(targets, layers, expected):
    assert drawn_layer(targets, layers) == expected
