from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.train.losses import mean_distance, reactivation_loss, retention_weight


def test_mean_distance_by_hand():
    # One row of three positions, the first is padding; two layers of two hidden units.
    first = torch.tensor([[[9.0, 9.0], [3.0, 4.0], [0.0, 1.0]]])
    second = torch.tensor([[[9.0, 9.0], [0.0, 0.0], [6.0, 8.0]]])
    mask = torch.tensor([[False, True, True]])
    targets = torch.zeros(2, 2, 2)
    # Norms: 5 and 1 at the first layer, 0 and 10 at the second; their mean is 4.
    assert mean_distance([first, second], targets, mask, positions=2).item() == pytest.approx(4.0)


def test_rows_weigh_by_their_positions():
    states = torch.tensor([[[3.0, 4.0], [0.0, 0.0]], [[0.0, 2.0], [0.0, 0.0]]])
    mask = torch.tensor([[True, True], [True, False]])
    # 5, 0 of the first row and 2 of the second: a mean over three positions, not over rows.
    loss = mean_distance([states], torch.zeros(3, 1, 2), mask, positions=3)
    assert loss.item() == pytest.approx(7 / 3)


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    left=st.integers(0, 4),
    right=st.integers(0, 4),
    seed=st.integers(0, 1000),
)
def test_padding_changes_nothing(lengths, left, right, seed):
    generator = torch.Generator().manual_seed(seed)
    layers, hidden, width = 2, 3, max(lengths)
    states = [torch.randn(len(lengths), width, hidden, generator=generator) for _ in range(layers)]
    mask = torch.tensor([[k < length for k in range(width)] for length in lengths])
    targets = torch.randn(sum(lengths), layers, hidden, generator=generator)
    padded = [
        torch.cat(
            [
                torch.randn(len(lengths), left, hidden, generator=generator),
                layer,
                torch.randn(len(lengths), right, hidden, generator=generator),
            ],
            dim=1,
        )
        for layer in states
    ]
    wide = torch.nn.functional.pad(mask, (left, right))
    positions = sum(lengths)
    torch.testing.assert_close(
        mean_distance(padded, targets, wide, positions=positions),
        mean_distance(states, targets, mask, positions=positions),
    )


def test_no_gradient_where_the_states_are_the_targets():
    states = torch.ones(1, 2, 3, requires_grad=True)
    loss = mean_distance(
        [states], torch.ones(2, 1, 3), torch.ones(1, 2, dtype=torch.bool), positions=2
    )
    loss.backward()
    assert loss.item() == 0
    assert states.grad is not None and (states.grad == 0).all()


def test_weight_rises_from_zero_to_two_thirds():
    weights = [retention_weight(step, steps=100, schedule=1.5) for step in (0, 75, 100)]
    assert weights == pytest.approx([0, 0.5, 2 / 3])


def test_loss_by_hand():
    loss = reactivation_loss(torch.tensor(3.0), torch.tensor(5.0), weight=0.25, strength=10)
    assert loss.item() == pytest.approx(10 * 0.75 * 3 + 10 * 0.25 * 5)
