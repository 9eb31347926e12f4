"""What looking again costs: rules at their bounds, decided at several looks at growing prompts.

Chances are summed over all counts, without drawing. docs/policy.md tells them.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import binom, multivariate_normal, norm

from components.core.result import RateFigure
from components.gate.policy_files import load_policy
from tests.components.gate.cases import DEFAULT, decided

LEVEL = 0.05
RULES = {rule.name: rule for rule in load_policy(DEFAULT).rules if rule.against is None}


def planned(looks):
    """Return the confidence that a policy asks for which plans so many looks."""
    plan = load_policy(DEFAULT).model_copy(update={"looks": looks})
    return plan.of_one_look.confidence


@cache
def fewest(name, n, confidence):
    """Return how many of n prompts must turn out well for a rule to pass; n + 1: more than all."""
    rule = RULES[name]

    def passes(well):
        count = well if rule.from_below else n - well
        return decided(rule, RateFigure.of(count, n, confidence), confidence=confidence).passed

    return bisect_left(range(n + 1), True, key=passes)


def chance(name, sizes, confidence):
    """Return the chance that a rule whose truth is its bound passes at one of the looks."""
    rule = RULES[name]
    well = rule.threshold if rule.from_below else 1 - rule.threshold
    never = np.ones(1)  # by the prompts that turned out well, of what passed at no look
    for before, n in pairwise((0, *sizes)):
        never = np.convolve(never, binom.pmf(np.arange(n - before + 1), n - before, well))
        never[fewest(name, n, confidence) :] = 0
    return 1 - never.sum()


def sizes(looks, step):
    return [step * (look + 1) for look in range(looks)]


@pytest.mark.parametrize("step", [100, 300])
@pytest.mark.parametrize("name", RULES)
def test_looks_add_to_the_chance_of_error_and_planned_ones_do_not(name, step):
    once, twice, thrice = (chance(name, sizes(looks, step), 0.95) for looks in (1, 2, 3))
    assert once < LEVEL
    assert twice > 1.4 * once
    assert thrice > 1.7 * once
    for looks in (2, 3):
        assert chance(name, sizes(looks, step), planned(looks)) < 0.03


def test_each_planned_look_has_its_share_of_the_error():
    confidences = {looks: planned(looks) for looks in (None, 1, 2, 3, 7, 20)}
    assert confidences == {None: 0.95, 1: 0.95, 2: 0.975, 3: 0.9834, 7: 0.9929, 20: 0.9975}
    rules = tuple(rule.model_copy(update={"confidence": 0.99}) for rule in RULES.values())
    plan = load_policy(DEFAULT).model_copy(update={"looks": 4, "rules": rules})
    assert {rule.confidence for rule in plan.of_one_look.rules} == {0.9975}


@pytest.mark.parametrize(
    "name", ["the post-trained model answers", "the post-trained model reasons"]
)
def test_three_looks_err_more_often_than_is_stated_for_one(name):
    assert chance(name, sizes(3, 300), 0.95) > LEVEL
    assert chance(name, sizes(3, 300), planned(3)) < LEVEL / 2


@pytest.mark.parametrize(
    ("looks", "growing", "fresh"), [(2, 0.042, 0.049), (3, 0.054, 0.073), (5, 0.071, 0.119)]
)
def test_the_nominal_figures_of_the_page(looks, growing, fresh):
    """Looks at growing prompts have the correlation root(i / j), those at fresh ones none."""
    at = np.arange(1, looks + 1)
    alike = np.sqrt(np.minimum.outer(at, at) / np.maximum.outer(at, at))
    ends = np.full(looks, norm.ppf(0.975))
    assert 1 - multivariate_normal.cdf(ends, cov=alike) == pytest.approx(growing, abs=5e-4)
    assert 1 - 0.975**looks == pytest.approx(fresh, abs=5e-4)
