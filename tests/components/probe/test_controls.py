"""Random masks of the same size: how many, where, and of which magnitudes."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from components.lm.masks import PackedMask, projections
from components.probe.controls import bin_edges, match_magnitudes, matched_masks, uniform_masks


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


def test_as_many_weights_of_every_matrix(small_model, masks):
    for drawn in (
        uniform_masks(masks, scope="matrix", generator=generator()),
        matched_masks(small_model, masks, generator=generator()),
    ):
        assert drawn.keys() == masks.keys()
        for name, mask in masks.items():
            assert drawn[name].shape == mask.shape
            assert drawn[name].removed == mask.removed > 0


def test_uniform_masks_of_rows_take_as_many_of_each_row(masks):
    drawn = uniform_masks(masks, scope="row", generator=generator())
    for name, mask in masks.items():
        counts = mask.unpacked().sum(1)
        assert torch.equal(drawn[name].unpacked().sum(1), counts)
        assert len(set(counts.tolist())) > 1
        assert not torch.equal(drawn[name].bits, mask.bits)


def test_the_generator_decides(small_model, masks):
    for draw in (
        partial(uniform_masks, scope="matrix"),
        partial(uniform_masks, scope="row"),
        lambda m, generator: matched_masks(small_model, m, generator=generator),
    ):
        one, again, other = (draw(masks, generator=generator(seed)) for seed in (0, 0, 1))
        name = next(iter(masks))
        assert torch.equal(one[name].bits, again[name].bits)
        assert not torch.equal(one[name].bits, other[name].bits)


def test_uniform_masks_prefer_no_weight():
    mask = {"x": PackedMask.of(torch.tensor([[True, True, False, False, False]]))}
    source, hits = generator(), torch.zeros(5)
    for _ in range(2000):
        hits += uniform_masks(mask, scope="matrix", generator=source)["x"].unpacked()[0]
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
    """The flat places of every bin's weights, by plain sorting."""
    flat = weight.abs().flatten().tolist()
    order = sorted(range(len(flat)), key=lambda i: (-flat[i], i))
    return [set(order[a:b]) for a, b in pairwise(bin_edges(len(flat)))]


def places(mask: torch.Tensor) -> set[int]:
    return set(mask.flatten().nonzero()[:, 0].tolist())


def test_every_bin_keeps_its_count_and_takes_others_first():
    weight = normal(1, 30, 40)
    mask = large_weights(weight, 0.2)
    mask.view(-1)[weight.abs().flatten().argsort(descending=True)[:13]] = True  # a bin mostly taken
    drawn = match_magnitudes(weight, mask, generator=generator(2))
    for own in slow_bins(weight):
        masked, chosen = own & places(mask), own & places(drawn)
        assert len(masked) == len(chosen)
        others = own - masked
        assert len(chosen & masked) == max(0, len(masked) - len(others))


def test_magnitudes_are_those_of_the_mask_and_uniform_ones_are_not():
    from scipy.stats import ks_2samp

    weight = normal(3, 200, 200)
    mask = large_weights(weight, 0.02)
    drawn = match_magnitudes(weight, mask, generator=generator(4))
    uniform = uniform_masks({"x": PackedMask.of(mask)}, scope="matrix", generator=generator(4))
    uniform = uniform["x"].unpacked()
    target = weight[mask].abs().numpy()
    assert (mask & drawn).sum() < 0.4 * mask.sum()  # where the largest are nearly all masked
    assert ks_2samp(target, weight[drawn].abs().numpy()).pvalue > 0.5
    assert ks_2samp(target, weight[uniform].abs().numpy()).statistic > 0.5
    assert np.isclose(target.mean(), weight[drawn].abs().mean(), rtol=0.02)


def test_magnitudes_of_a_mask_of_each_rows_largest_are_matched_too():
    """In its own row no other weight is as large; in the matrix there is."""
    weight = normal(6, 576, 576)
    mask = torch.zeros(weight.shape, dtype=torch.bool)
    mask[torch.arange(576), weight.abs().argmax(1)] = True
    drawn = match_magnitudes(weight, mask, generator=generator(7))
    ratio = weight[drawn].abs().mean() / weight[mask].abs().mean()
    assert 0.98 < ratio < 1.02
