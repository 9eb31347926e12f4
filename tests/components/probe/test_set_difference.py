"""Scores, top shares and masks by hand and against a slow second implementation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.core.errors import DataError, ModelError
from components.lm.loading import load_model
from components.lm.masks import projections
from components.probe.answers import Exchange
from components.probe.set_difference import (
    MatrixSize,
    build_masks,
    input_norms,
    mask_sizes,
    response_mask,
    scores,
    top_share,
)
from tests.checkpoints import write_checkpoint

CPU = torch.device("cpu")
SCOPES = ("matrix", "row")


def exchanges(seed: int, count: int = 7) -> list[Exchange]:
    """Exchanges of 1 to 9 prompt and 1 to 6 response tokens."""
    generator = np.random.default_rng(seed)

    def tokens(longest: int) -> list[int]:
        return generator.integers(4, 60, generator.integers(1, longest + 1)).tolist()

    return [Exchange(tokens(9), tokens(6)) for _ in range(count)]


def slow_norms(model, rows: list[Exchange]) -> dict[str, np.ndarray]:
    """Every input of every projection kept, one unpadded sequence at a time."""
    kept: dict[str, list[np.ndarray]] = {}
    handles = []
    for name, module in model.model.named_modules():
        if name.endswith("_proj"):

            def keep(_module, inputs, _output, name=name):
                kept.setdefault(name, []).append(inputs[0][0].numpy())

            handles.append(module.register_forward_hook(keep))
    for row in rows:
        before = {name: len(inputs) for name, inputs in kept.items()}
        with torch.no_grad():
            model(input_ids=torch.tensor([row.prompt + row.response]))
        for name, inputs in kept.items():
            assert len(inputs) == before.get(name, 0) + 1
            inputs[-1] = inputs[-1][len(row.prompt) :]
    for handle in handles:
        handle.remove()
    stacked = {name: np.concatenate(inputs).astype(float) for name, inputs in kept.items()}
    return {name: np.sqrt((inputs**2).sum(axis=0)) for name, inputs in stacked.items()}


def slow_top(score: np.ndarray, share: float, scope: str) -> set[int]:
    """Flat places of the top share, by plain sorting: of all scores, or of every row's."""
    places = np.arange(score.size).reshape(score.shape)
    groups = [places.flatten()] if scope == "matrix" else places
    found: set[int] = set()
    for group in groups.tolist() if scope == "row" else [groups[0].tolist()]:
        order = sorted(group, key=lambda i: (-score.flat[i], i))
        found.update(order[: int(share * len(group))])
    return found


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "gemma", "mistral"])
def test_scores_and_masks_equal_the_slow_implementation(tmp_path, architecture):
    folder = write_checkpoint(tmp_path, architecture=architecture, hidden=16, layers=2, seed=3)
    model = load_model(folder, device=CPU)
    sets = {"reasoning": exchanges(1), "safety": exchanges(2)}
    fast = {name: input_norms(model, rows, pad=0, batch=3) for name, rows in sets.items()}
    slow = {name: slow_norms(model, rows) for name, rows in sets.items()}
    found = {
        scope: build_masks(model, **fast, share=0.13, kept=0.07, scope=scope) for scope in SCOPES
    }
    weights = {name: linear.weight.detach() for name, linear in projections(model).items()}
    assert weights.keys() == slow["safety"].keys()
    for place, (name, weight) in enumerate(weights.items()):
        magnitude = np.abs(weight.numpy().astype(float))
        remove, keep = (magnitude * slow[which][name][None, :] for which in sets)
        np.testing.assert_allclose(scores(weight, fast["safety"][name]), keep, rtol=2e-5)
        for scope in SCOPES:
            top = slow_top(remove, 0.13, scope)
            expected = top - slow_top(keep, 0.07, scope)
            mask, size = found[scope].masks[name], found[scope].sizes[place]
            assert set(mask.unpacked().flatten().nonzero()[:, 0].tolist()) == expected
            assert expected
            assert f"layers.{size.layer - 1}." in name and name.endswith(size.projection)
            assert (size.weights, size.top) == (weight.numel(), len(top))
            assert (size.removed, size.shared) == (len(expected), len(top) - len(expected))


def test_streaming_norms_do_not_depend_on_batches_and_padding(tmp_path):
    model = load_model(write_checkpoint(tmp_path, layers=2), device=CPU)
    rows = exchanges(5, count=9)
    expected = slow_norms(model, rows)
    for batch, order, pad in ((1, rows, 0), (4, rows[::-1], 7), (9, rows, 0)):
        norms = input_norms(model, order, pad=pad, batch=batch)
        for name, norm in norms.items():
            assert norm.dtype == torch.float64
            np.testing.assert_allclose(norm.numpy(), expected[name], rtol=2e-5)


def test_prompt_tokens_do_not_count(tmp_path):
    model = load_model(write_checkpoint(tmp_path, layers=1), device=CPU)
    rows = [Exchange([5, 6, 7, 8], [9, 10])]
    everything = input_norms(model, [Exchange([], [5, 6, 7, 8, 9, 10])], pad=0, batch=1)
    response = input_norms(model, rows, pad=0, batch=1)
    assert all((response[name] < everything[name]).all() for name in response)


def test_response_mask_by_hand():
    rows = [Exchange([1, 2], [3]), Exchange([1], [2, 3, 4])]
    expected = [[False, False, False, True], [False, True, True, True]]
    assert response_mask(rows, 4).tolist() == expected


def test_score_by_hand():
    weight, norms = torch.tensor([[1.0, -2.0], [0.5, 0.0]]), torch.tensor([3.0, 0.25])
    assert scores(weight, norms).tolist() == [[3.0, 0.5], [1.5, 0.0]]


def test_no_response_tokens_are_an_error(tmp_path):
    model = load_model(write_checkpoint(tmp_path, layers=1), device=CPU)
    for rows in ([], [Exchange([1, 2], [])]):
        with pytest.raises(DataError, match="no response tokens"):
            input_norms(model, rows, pad=0, batch=1)


def test_inputs_that_are_not_finite_are_an_error_and_hooks_are_removed(tmp_path):
    model = load_model(write_checkpoint(tmp_path, layers=1), device=CPU)
    model.model.embed_tokens.weight.data[9] = float("nan")
    with pytest.raises(ModelError, match="not finite"):
        input_norms(model, [Exchange([5], [9])], pad=0, batch=1)
    assert not any(linear._forward_pre_hooks for linear in projections(model).values())


SCORE = torch.tensor([[9.0, 1.0, 8.0, 0.0], [2.0, 7.0, 3.0, 3.0]])


def slow_first(values: list[float], share: float) -> list[int]:
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    return sorted(order[: int(share * len(values))])


@given(
    rows=st.integers(1, 4),
    values=st.lists(st.integers(0, 4), min_size=1, max_size=12),
    share=st.floats(0, 1),
)
@settings(max_examples=100)
def test_top_share_takes_exactly_so_many_and_the_first_of_equals(rows, values, share):
    score = torch.tensor([[(v + r) % 5 for v in values] for r in range(rows)]).float()
    whole = top_share(score, share, "matrix").flatten().nonzero()[:, 0].tolist()
    assert whole == slow_first(score.flatten().tolist(), share)
    by_row = top_share(score, share, "row")
    for own, chosen in zip(score.tolist(), by_row, strict=True):
        assert chosen.nonzero()[:, 0].tolist() == slow_first(own, share)


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
