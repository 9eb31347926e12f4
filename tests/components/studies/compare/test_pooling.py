"""Seeds as one: by hand, by simulation, and on made-up rows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from components.core.result import RateFigure
from components.core.vocabulary import Arm, Outcome, Role
from components.evaluate.rates import counts_of, differences, rates
from components.evaluate.result import CutFigure
from components.evaluate.rows import Asked, read_outcomes, write_judged
from components.evaluate.statistics import with_holm
from components.judges.result import Usage
from components.studies.compare.pooling import differences_of, merged, pool
from components.studies.compare.result import Comparison
from tests.evidence import make_row

METRIC, ROUNDS = "harmful.refused", 800
A, B, C = (Asked(name, name) for name in "abc")
FEWEST = 0.95 - 3 * math.sqrt(0.95 * 0.05 / ROUNDS)  # three standard errors below 95 %


def rows_of(arm, refused, among):
    """The rows of an arm that refuses these prompts among those."""
    outcomes = {p: Outcome.REFUSED if p in refused else Outcome.COMPLIED for p in among}
    return [make_row(p, outcome, arm=arm) for p, outcome in outcomes.items()]


def compared(rows, **changes):
    """The comparison of one seed, whose arm `sft` stands against the post-trained model."""
    counts = {arm: counts_of(own) for arm, own in rows.items()}
    pairs = [("sft", Arm.POST_TRAINED)] if "sft" in rows else []
    found = with_holm(differences(counts, pairs, {"harmful": Role.HARMFUL}, 0.95))
    made_up = {"teacher": "base", "confidence": 0.95, "left_out": {}, "cut": {}, "usage": {}}
    figures = {arm: rates(own, 0.95) for arm, own in counts.items()}
    return Comparison.model_construct(
        **{**made_up, **changes}, arms=tuple(rows), rates=figures, differences=found
    )


def one_seed(refused, by_model, among=range(40)):
    arms = {"sft": refused, Arm.POST_TRAINED: by_model}
    return {arm: rows_of(arm, prompts, among) for arm, prompts in arms.items()}


def test_seeds_that_agree_on_every_prompt_have_the_interval_of_one():
    seed = one_seed(range(30), range(4, 10))
    alone, whole = compared(seed), pool([compared(seed)] * 2, [seed] * 2).comparison
    one, both = alone.rates["sft"][METRIC], whole.rates["sft"][METRIC]
    assert (one.low, one.high) == pytest.approx((0.5981, 0.8581), abs=5e-5)  # Wilson's of 30 of 40
    assert (both.low, both.high) == pytest.approx((one.low, one.high))
    assert (both.count, both.n, both.samples) == (60, 40, 80)
    before, after = (
        next(d for d in each.differences if d.metric == METRIC) for each in (alone, whole)
    )
    figures = ("difference", "low", "high", "n", "gained", "lost", "p_value", "p_holm")
    assert [getattr(after, f) for f in figures] == pytest.approx(
        [getattr(before, f) for f in figures]
    )


def test_seeds_that_ask_other_prompts_are_samples_of_their_own():
    seeds = [one_seed(range(30), ()), one_seed(range(40, 61), (), among=range(40, 80))]
    found = pool([compared(seed) for seed in seeds], seeds).comparison.rates["sft"][METRIC]
    assert found == RateFigure.of(51, 80, 0.95)


def test_seeds_that_share_one_of_three_prompts_by_hand():
    """One seed refuses a, and not b; the other b, and c: 1 of 1, 1 of 2 and 1 of 1 answers.

    An answer finds its prompt to have (1 + 2*2 + 1) / 4 = 1.5 of them. With a prompt of as many
    that all count and one of as many that never do, 4.5 of 7 count, which is 9/14. Squares
    (5/14)^2 + (4/14)^2 + (5/14)^2 + (7.5/14)^2 + (13.5/14)^2 over 7 * 9/14 * 5/14.
    """
    counts = [{METRIC: {A: (True,), B: (False,)}}, {METRIC: {B: (True,), C: (True,)}}]
    whole = merged(counts)
    assert whole[METRIC] == {A: (True,), B: (False, True), C: (True,)}
    squares = (2 * 5**2 + 4**2 + 7.5**2 + 13.5**2) / 14**2
    effect = max(squares / (7 * 9 / 14 * 5 / 14), 1)
    size, z = 4 / effect, 1.959963984540054
    middle = (0.75 + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z * math.sqrt(0.75 * 0.25 / size + z**2 / (4 * size**2)) / (1 + z**2 / size)
    found = rates(whole, 0.95)[METRIC]
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half))
    assert (found.rate, found.n, found.samples) == (0.75, 3, 4)


def levels(draw, rate, alike, prompts):
    """How likely a seed's answer to each prompt counts; answers to one correlate by `alike`."""
    if alike in (0, 1):
        return np.full(prompts, rate) if alike == 0 else (draw.random(prompts) < rate) * 1.0
    scale = (1 - alike) / alike
    return draw.beta(rate * scale, (1 - rate) * scale, prompts)


def asked(draw, shares, prompts):
    return {METRIC: {Asked(str(p), str(p)): (bool(draw.random() < shares[p]),) for p in prompts}}


@pytest.mark.parametrize("alike", [0, 0.5, 1])
@pytest.mark.parametrize("shared", [60, 40])  # of the 60 prompts of each of three seeds
def test_the_pooled_interval_covers_the_true_rate(alike, shared):
    """With every answer as a prompt of its own it covers the rate far too seldom."""
    draw, hits, naive = np.random.default_rng(5), 0, 0
    own = [list(range(shared)) + list(range(k * 60 + 60, k * 60 + 120 - shared)) for k in range(3)]
    for truth in draw.uniform(0.05, 0.95, ROUNDS):  # of one rate, Wilson's varies with n
        shares = levels(draw, truth, alike, 240)
        figure = rates(merged([asked(draw, shares, prompts) for prompts in own]), 0.95)[METRIC]
        hits += figure.low <= truth <= figure.high
        plain = RateFigure.of(figure.count, figure.samples or figure.n, 0.95)
        naive += plain.low <= truth <= plain.high
    assert hits / ROUNDS >= FEWEST
    assert alike == 0 or naive / ROUNDS < FEWEST


@pytest.mark.parametrize("alike", [0, 0.5, 1])
def test_the_pooled_difference_covers_the_true_one(alike):
    """Two arms whose answers to a prompt differ by 10 points on average, three seeds."""
    draw, hits = np.random.default_rng(6), 0
    for _ in range(ROUNDS):
        both = [levels(draw, rate, alike, 60) for rate in (0.5, 0.4)]
        ours, theirs = ([asked(draw, own, range(60)) for _ in range(3)] for own in both)
        (found,) = differences_of("sft", Arm.POST_TRAINED, ours, theirs, 0.95)
        hits += found.low <= 0.1 <= found.high
    assert hits / ROUNDS >= FEWEST


def test_arms_are_compared_in_the_seeds_that_have_both():
    first, second = one_seed(range(30), range(10)), one_seed(range(20), range(40))
    del second["sft"]
    left_out = compared(second, left_out={"sft": "it cannot teach"}, teacher="reminder")
    found = pool([compared(first), left_out], [first, second])
    assert found.comparison.differences == compared(first).differences
    assert found.comparison.rates["sft"] == compared(first).rates["sft"]
    assert found.comparison.rates[Arm.POST_TRAINED][METRIC].count == 50
    assert found.spreads[Arm.POST_TRAINED][METRIC] == (0.25, 1.0)
    assert found.spreads["sft"][METRIC] == (0.75, 0.75)
    why = "it cannot teach (under 1 of 2 seeds; its figures are of the others)"
    assert found.comparison.left_out == {"sft": why}
    whole = pool([left_out, left_out], [second, second])
    assert whole.comparison.left_out == {"sft": "it cannot teach"}
    assert found.comparison.teacher == "base or reminder"
    assert pool([compared(first)], [first]).spreads == {}


def test_what_judges_cost_and_did_not_read_is_of_all_seeds():
    seed = one_seed(range(30), range(10))
    each = compared(
        seed,
        cut={"harmful": {"sft": CutFigure(count=3, n=300)}},
        usage={"rubric": Usage(requests=7, cost=0.5)},
    )
    whole = pool([each, each], [seed, seed]).comparison
    assert whole.cut == {"harmful": {"sft": CutFigure(count=6, n=600)}}
    assert whole.usage == {"rubric": Usage(requests=14, cost=1.0)}


def test_rows_without_their_texts_count_as_the_rows_do(tmp_path):
    rows = [
        make_row(1, Outcome.REFUSED, Outcome.COMPLIED, thought="words", answer="others"),
        make_row(2, Outcome.COMPLIED, arm="sft", thought=None, correct=True),
    ]
    write_judged(tmp_path / "rows.parquet", rows)
    read = read_outcomes(tmp_path / "rows.parquet")
    assert list(read) == [Arm.BASE, "sft"]
    assert read[Arm.BASE] == [replace(rows[0], thought="", answer="…", said_thought="")]
    assert counts_of(read[Arm.BASE]) == counts_of(rows[:1])
    assert counts_of(read["sft"]) == counts_of(rows[1:])
