"""Top shares and their difference: exact counts, ties in order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.probing.set_difference import mask_sizes, set_difference, top_share


@given(
    values=st.lists(st.integers(0, 4), min_size=1, max_size=40),
    share=st.floats(0, 1),
)
@settings(max_examples=100, deadline=None)
def test_top_share_takes_exactly_so_many_and_the_first_of_equals(values, share):
    count = int(share * len(values))
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    chosen = top_share(torch.tensor(values, dtype=torch.float32)[None], share)
    assert sorted(order[:count]) == chosen[0].nonzero()[:, 0].tolist()


def test_set_difference_by_hand():
    remove = torch.tensor([[9.0, 1.0, 8.0], [2.0, 7.0, 3.0]])  # top half: 9, 8, 7
    keep = torch.tensor([[0.0, 9.0, 8.0], [1.0, 2.0, 3.0]])  # top third: 9, 8
    expected = [[True, False, False], [False, True, False]]
    assert set_difference(remove, keep, q=0.5, p=1 / 3).tolist() == expected


@pytest.mark.parametrize(("q", "p", "removed"), [(0, 0, 0), (1, 0, 6), (1, 1, 0)])
def test_extreme_shares(q, p, removed):
    score = torch.arange(6.0).reshape(2, 3)
    assert int(set_difference(score, score, q=q, p=p).sum()) == removed


def test_sizes_by_projection_over_all_layers():
    masks = {
        f"layers.{layer}.{name}": torch.ones(2, 3, dtype=torch.bool)
        for layer in range(2)
        for name in ("self_attn.q_proj", "mlp.up_proj")
    }
    masks["layers.1.mlp.up_proj"][0] = False
    sizes = {size.projection: (size.weights, size.removed) for size in mask_sizes(masks)}
    assert sizes["q_proj"] == (12, 12)
    assert sizes["up_proj"] == (12, 9)
    assert sizes["k_proj"] == (0, 0)
