"""Which layer is shown."""

from __future__ import annotations

import pytest

from components.probe.position_plot import shown_layer


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
    assert shown_layer(targets, layers) == expected
