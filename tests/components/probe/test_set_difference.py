"""Top shares and their difference: exact counts, ties in order, matrix and row."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.probe.set_difference import MatrixSize, mask_sizes, top_share

SCORE = torch.tensor([[9.0, 1.0, 8.0, 0.0], [2.0, 7.0, 3.0, 3.0]])


def slow_top(values: list[float], share: float) -> list[int]:
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    return sorted(order[: int(share * len(values))])


@given(
    rows=st.integers(1, 4),
    values=st.lists(st.integers(0, 4), min_size=1, max_size=12),
    share=st.floats(0, 1),
)
@settings(max_examples=100, deadline=None)
def test_top_share_takes_exactly_so_many_and_the_first_of_equals(rows, values, share):
    score = torch.tensor([[(v + r) % 5 for v in values] for r in range(rows)]).float()
    whole = top_share(score, share, "matrix").flatten().nonzero()[:, 0].tolist()
    assert whole == slow_top(score.flatten().tolist(), share)
    by_row = top_share(score, share, "row")
    for own, chosen in zip(score.tolist(), by_row, strict=True):
        assert chosen.nonzero()[:, 0].tolist() == slow_top(own, share)


def test_top_share_by_hand():
    T, F = True, False
    assert top_share(SCORE, 0.5, "matrix").tolist() == [[T, F, T, F], [F, T, T, F]]
    assert top_share(SCORE, 0.25, "row").tolist() == [[T, F, F, F], [F, T, F, F]]
    assert top_share(SCORE, 0.5, "row").tolist() == [[T, F, T, F], [F, T, T, F]]
    assert top_share(SCORE, 0.2, "matrix").tolist() == [[T, F, F, F], [F, F, F, F]]
    assert not top_share(SCORE, 0.2, "row").any()


@pytest.mark.parametrize("scope", ["matrix", "row"])
def test_the_score_may_be_infinite(scope):
    score = SCORE.clone()
    score[1, 3] = float("inf")
    assert top_share(score, 0.25, scope)[1].tolist() == [False, False, False, True]


def test_sizes_by_projection_over_all_layers():
    sizes = [
        MatrixSize(layer, name, weights=100, top=10, shared=shared, removed=10 - shared)
        for layer, shared in ((1, 4), (2, 9))
        for name in ("q_proj", "up_proj")
    ]
    totals = {total.projection: total for total in mask_sizes(sizes)}
    up = totals["up_proj"]
    assert (up.weights, up.top, up.shared, up.removed) == (200, 20, 13, 7)
    assert up.overlap == 0.65
    assert (totals["k_proj"].weights, totals["k_proj"].overlap) == (0, None)
