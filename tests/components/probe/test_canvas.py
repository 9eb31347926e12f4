"""Ticks that can be read."""

from __future__ import annotations

import pytest

from components.probe.canvas import layer_ticks
from components.probe.mask_plots import share_ticks


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
