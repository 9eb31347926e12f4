"""Folds, linear probes and the interval of an AUC."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from components.core.errors import DataError
from components.core.vocabulary import Prompt, Role, Split
from components.probe.separability import auc_interval, draw_folds, probe_auc

Z = 1.959963984540054


def rows(role: Role, count: int, topics: int) -> list[Prompt]:
    row = Prompt("", "", role, "", "test", "MIT", Split.TRAIN)
    return [replace(row, id=f"{role}{i}", topic=f"{role}-{i % topics}") for i in range(count)]


def folds(count: int, topics: int = 60, *, number: int = 5):
    own = (rows(Role.HARMFUL, count, topics), rows(Role.BENIGN, count, topics))
    return draw_folds(*own, folds=number, seed=0)


def test_separable_states_and_meaningless_ones():
    generator = torch.Generator().manual_seed(0)
    harmful, benign = (torch.randn(60, 8, generator=generator) for _ in range(2))
    chance = probe_auc(harmful, benign, folds(60))
    assert 0.3 < chance.auc < 0.7
    assert chance.low < 0.5 < chance.high
    harmful[:, 3] += 20
    perfect = probe_auc(harmful, benign, folds(60))
    assert perfect.auc == perfect.high == 1
    assert 0.9 < perfect.low < 1


def test_the_auc_pools_the_log_odds_of_all_folds():
    from sklearn.linear_model import LogisticRegression

    generator = torch.Generator().manual_seed(1)
    harmful = torch.randn(20, 3, generator=generator) + 0.7
    benign = torch.randn(20, 3, generator=generator)
    split = folds(20, number=4)
    states = torch.cat((harmful, benign)).double().numpy()
    odds = np.full(40, np.nan)
    for _, judged in split.splits:
        fitted = np.delete(np.arange(40), judged)
        mean, spread = states[fitted].mean(axis=0), states[fitted].std(axis=0)
        probe = LogisticRegression(max_iter=1000)
        probe.fit((states[fitted] - mean) / spread, split.labels[fitted])
        odds[judged] = ((states[judged] - mean) / spread) @ probe.coef_[0] + probe.intercept_[0]
    wins = odds[:20, None] > odds[None, 20:]
    assert probe_auc(harmful, benign, split).auc == pytest.approx(wins.mean())


def test_a_topic_is_in_one_fold_where_there_are_enough():
    split = folds(40, 8)
    assert split.by == "topic"
    places = sorted(np.concatenate([judged for _, judged in split.splits]).tolist())
    assert places == list(range(80))
    for _, judged in split.splits:
        assert set(split.labels[judged]) == {0, 1}
    of = {place: k for k, (_, judged) in enumerate(split.splits) for place in judged.tolist()}
    for place in range(40):
        assert of[place] == of[place % 8]
        assert of[40 + place] == of[40 + place % 8]


@pytest.mark.parametrize("topics", [(4, 9), (9, 4)])
def test_with_too_few_topics_of_a_class_the_folds_are_stratified_only(topics):
    harmful, benign = rows(Role.HARMFUL, 20, topics[0]), rows(Role.BENIGN, 10, topics[1])
    split = draw_folds(harmful, benign, folds=5, seed=0)
    assert split.by == "prompt"
    assert [split.labels[judged].sum() for _, judged in split.splits] == [4] * 5


@pytest.mark.parametrize(("harmful", "benign"), [(0, 9), (9, 0), (4, 9)])
def test_fewer_rows_than_folds_are_an_error_that_names_the_counts(harmful, benign):
    with pytest.raises(DataError, match=f"{harmful} harmful and {benign} benign"):
        draw_folds(rows(Role.HARMFUL, harmful, 9), rows(Role.BENIGN, benign, 9), folds=5, seed=0)


def hanley_mcneil(auc: float, m: int, n: int) -> float:
    """The variance as Hanley and McNeil 1982 give it, both counts replaced by their mean."""
    q1, q2, mean = auc / (2 - auc), 2 * auc**2 / (1 + auc), (m + n) / 2
    return (auc * (1 - auc) + (mean - 1) * (q1 - auc**2) + (mean - 1) * (q2 - auc**2)) / (m * n)


def test_an_interval_of_one_prompt_each_is_by_hand_that_of_wilson():
    # Without a second prompt the variance is a(1 - a): Wilson's interval of 1 in 1.
    low, high = auc_interval(1.0, 1, 1, confidence=0.95)
    assert low == pytest.approx(1 / (1 + Z**2)) and high == 1
    assert auc_interval(0.0, 1, 1, confidence=0.95) == pytest.approx((0, 1 - 1 / (1 + Z**2)))


@pytest.mark.parametrize(("m", "n"), [(2, 3), (20, 20), (128, 40)])
@pytest.mark.parametrize("auc", [0.02, 0.5, 0.83, 0.999, 1.0])
def test_each_end_is_z_of_its_own_standard_errors_away(auc, m, n):
    low, high = auc_interval(auc, m, n, confidence=0.95)
    assert 0 < low < auc <= high <= 1
    assert auc - low == pytest.approx(Z * math.sqrt(hanley_mcneil(low, m, n)), rel=1e-6)
    if auc < 1:
        assert high - auc == pytest.approx(Z * math.sqrt(hanley_mcneil(high, m, n)), rel=1e-6)


def test_the_interval_narrows_with_prompts_and_mirrors():
    widths = [np.ptp(auc_interval(0.9, n, n, confidence=0.95)) for n in (10, 40, 160)]
    assert widths[0] > widths[1] > widths[2]
    low, high = auc_interval(0.9, 12, 30, confidence=0.9)
    assert auc_interval(0.1, 12, 30, confidence=0.9) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize("shift", [0.5, 1.5, 2.5])
def test_coverage_on_simulated_scores(shift):
    """Two normals a `shift` apart have an AUC of Phi(shift / sqrt 2)."""
    true, generator, hits = 0.5 * (1 + math.erf(shift / 2)), np.random.default_rng(0), 0
    for _ in range(400):
        harmful, benign = generator.normal(shift, size=20), generator.normal(size=25)
        auc = float((harmful[:, None] > benign[None]).mean())
        low, high = auc_interval(auc, 20, 25, confidence=0.95)
        hits += low <= true <= high
    assert 0.92 <= hits / 400 <= 0.99
