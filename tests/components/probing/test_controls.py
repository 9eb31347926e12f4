"""Random masks of the same size: how many, where, and of which magnitudes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from components.lm.masks import PackedMask, projections
from components.probing.controls import (
    bin_edges,
    draw_as_many,
    match_magnitudes,
    matched_masks,
    uniform_masks,
)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def normal(seed: int, *shape: int) -> torch.Tensor:
    """Weights that bfloat16 holds exactly, as those of most checkpoints."""
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return drawn.to(torch.bfloat16).float()


def large_weights(weight: torch.Tensor, share: float, seed: int = 5) -> torch.Tensor:
    """A mask that prefers large weights, as the set difference does."""
    noise = torch.rand(weight.shape, generator=torch.Generator().manual_seed(seed))
    noisy = weight.abs() * (0.5 + noise)
    return noisy > noisy.flatten().quantile(1 - share)


@pytest.fixture
def masks(small_model):
    return {
        name: PackedMask.of(large_weights(linear.weight.detach(), 0.1))
        for name, linear in projections(small_model).items()
    }


def draws(small_model, masks, scope, seed=0):
    """Both kinds of masks."""
    return (
        uniform_masks(masks, scope=scope, generator=generator(seed)),
        matched_masks(small_model, masks, scope=scope, generator=generator(seed)),
    )


def test_as_many_weights_of_every_matrix_or_row(small_model, masks):
    for scope in ("matrix", "row"):
        for drawn in draws(small_model, masks, scope):
            assert drawn.keys() == masks.keys()
            alike = 0
            for name, mask in masks.items():
                assert drawn[name].shape == mask.shape
                assert drawn[name].removed == mask.removed > 0
                rows = (own.unpacked().sum(1) for own in (drawn[name], mask))
                alike += torch.equal(*rows)
            assert alike == (len(masks) if scope == "row" else 0)


def test_the_generator_decides(small_model, masks):
    for kind in (0, 1):
        one, again, other = (draws(small_model, masks, "matrix", seed)[kind] for seed in (0, 0, 1))
        name = next(iter(masks))
        assert torch.equal(one[name].bits, again[name].bits)
        assert not torch.equal(one[name].bits, other[name].bits)


def test_uniform_masks_prefer_no_weight():
    mask = {"x": PackedMask.of(torch.tensor([[True, True, False, False, False]]))}
    source, hits = generator(), torch.zeros(5)
    for _ in range(2000):
        hits += uniform_masks(mask, scope="row", generator=source)["x"].unpacked()[0]
    assert hits.sum() == 4000
    assert (hits - 800).abs().max() < 100  # 4.5 standard deviations


def test_edges_by_hand():
    assert bin_edges(10) == [0, 10]
    assert bin_edges(16) == [0, 16]
    assert bin_edges(30) == [0, 16, 20, 25, 30]
    edges = bin_edges(10**6)
    widths = [b - a for a, b in pairwise(edges)][:-1]
    assert edges[0] == 0 and edges[-1] == 10**6 and widths[1:] == sorted(widths[1:])


def slow_bins(weight: torch.Tensor) -> list[set[int]]:
    """The places of every bin's weights in a row, by plain sorting."""
    row = weight.abs().tolist()
    order = sorted(range(len(row)), key=lambda i: (-row[i], i))
    return [set(order[a:b]) for a, b in pairwise(bin_edges(len(row)))]


def places(mask: torch.Tensor) -> set[int]:
    return set(mask.nonzero()[:, 0].tolist())


@pytest.mark.parametrize("shape", [(1, 1200), (12, 100)])
def test_every_bin_keeps_its_count_and_takes_others_first(shape):
    weight = normal(1, *shape)
    mask = large_weights(weight, 0.2)
    mask[0, weight[0].abs().argsort(descending=True)[:13]] = True  # a bin mostly taken
    drawn = match_magnitudes(weight, mask, generator=generator(2))
    for row, before, after in zip(weight, mask, drawn, strict=True):
        for own in slow_bins(row):
            masked, chosen = own & places(before), own & places(after)
            assert len(masked) == len(chosen)
            others = own - masked
            assert len(chosen & masked) == max(0, len(masked) - len(others))


def test_magnitudes_are_those_of_the_mask_and_uniform_ones_are_not():
    from scipy.stats import ks_2samp

    weight = normal(3, 1, 40_000)
    mask = large_weights(weight, 0.02)
    drawn = match_magnitudes(weight, mask, generator=generator(4))
    uniform = draw_as_many(mask, generator=generator(4))
    target = weight[mask].abs().numpy()
    assert (mask & drawn).sum() < 0.4 * mask.sum()  # where the largest are nearly all masked
    assert ks_2samp(target, weight[drawn].abs().numpy()).pvalue > 0.5
    assert ks_2samp(target, weight[uniform].abs().numpy()).statistic > 0.5
    assert np.isclose(target.mean(), weight[drawn].abs().mean(), rtol=0.02)
