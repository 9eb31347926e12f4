"""The next token: shares worked by hand, and doubt where rounding decides."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from components.core.errors import ModelError
from components.lm.engines.choice import Sampling, choose


def sampling(temperature=0.0, top_p=1.0, top_k=0, uniform=0.0):
    return Sampling(
        torch.tensor([temperature]), torch.tensor([top_p]), torch.tensor([top_k]),
        torch.tensor([uniform], dtype=torch.float64),
    )  # fmt: skip


def pick(shares, **how):
    """Choose by logits whose softmax is `shares`."""
    logits = torch.tensor([[math.log(share) for share in shares]])
    return choose(logits, sampling(**how), 0.0)[0].item()


def test_greedy_takes_the_largest():
    assert pick([0.2, 0.5, 0.3]) == 1


@pytest.mark.parametrize(
    ("uniform", "token"), [(0.0, 0), (0.19, 0), (0.21, 1), (0.69, 1), (0.71, 2), (0.9999999, 2)]
)
def test_a_number_falls_into_the_share_of_its_token(uniform, token):
    assert pick([0.2, 0.5, 0.3], temperature=1.0, uniform=uniform) == token


def test_the_temperature_sharpens():
    """At 1/2 the shares 0.2, 0.5, 0.3 become 0.04, 0.25, 0.09 of 0.38: 0.105, 0.658, 0.237."""
    drawn = [pick([0.2, 0.5, 0.3], temperature=0.5, uniform=u) for u in (0.1, 0.11, 0.75, 0.77)]
    assert drawn == [0, 1, 1, 2]


def test_the_nucleus_is_the_smallest_set_that_reaches_top_p():
    """0.5 + 0.3 reach 0.8, so 0.2 is out; of the rest 0.5 takes 5/8."""
    shares = [0.2, 0.5, 0.3]
    drawn = [pick(shares, temperature=1.0, top_p=0.79, uniform=u) for u in (0.0, 0.62, 0.63)]
    assert drawn == [1, 1, 2]
    assert pick(shares, temperature=1.0, top_p=0.4, uniform=0.999) == 1
    assert pick(shares, temperature=1.0, top_p=0.81, uniform=0.1) == 0


def test_only_the_likeliest_tokens_are_left():
    """Of 0.1, 0.4, 0.2, 0.3 the two likeliest are 4/7 and 3/7; a nucleus of 0.5 is the first."""
    shares = [0.1, 0.4, 0.2, 0.3]
    drawn = [pick(shares, temperature=1.0, top_k=2, uniform=u) for u in (0.0, 0.57, 0.58, 0.999)]
    assert drawn == [1, 1, 3, 3]
    assert pick(shares, temperature=1.0, top_k=2, top_p=0.5, uniform=0.999) == 1
    assert pick(shares, temperature=1.0, top_k=1, uniform=0.999) == 1
    assert [pick(shares, temperature=1.0, top_k=k, uniform=0.0) for k in (0, 4, 9)] == [0, 0, 0]


def test_rows_of_a_batch_keep_as_many_tokens_as_each_asks_for():
    logits = torch.tensor([[0.1, 0.4, 0.2, 0.3]]).log().expand(4, 4)
    ones, numbers = torch.ones(4), torch.full((4,), 0.999, dtype=torch.float64)
    how = Sampling(torch.tensor([1.0, 1.0, 0.0, 1.0]), ones, torch.tensor([1, 2, 2, 0]), numbers)
    assert choose(logits, how, 0.0)[0].tolist() == [1, 3, 1, 3]


def test_the_numbers_of_a_long_run_have_the_shares():
    numbers = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    logits = torch.tensor([[0.1, 0.6, 0.3]]).log().expand(1000, 3)
    ones = torch.ones(1000)
    tokens, _ = choose(logits, Sampling(ones, ones, torch.zeros(1000).long(), numbers), 0.0)
    assert torch.bincount(tokens).tolist() == [100, 600, 300]


def doubtful(logits, tolerance=1e-4, **how):
    return choose(torch.tensor([logits]), sampling(**how), tolerance)[1].item()


def test_what_rounding_could_change_is_doubtful():
    assert doubtful([1.0, 1.00001, -3.0])
    assert not doubtful([1.0, 1.1, -3.0])
    assert not doubtful([1.0, 1.0, -3.0], tolerance=0.0)
    even = [0.0, 0.0, -30.0]
    assert doubtful(even, temperature=1.0, uniform=0.50001)
    assert not doubtful(even, temperature=1.0, uniform=0.6)
    near = [math.log(share) for share in (0.2, 0.5, 0.3)]
    assert doubtful(near, temperature=1.0, top_p=0.80001, uniform=0.1)
    assert not doubtful(near, temperature=1.0, top_p=0.85, uniform=0.1)
    # The second and the third likeliest are nearly as likely as each other.
    tied = [3.0, 1.00001, 1.0, -3.0]
    asked = [doubtful(tied, temperature=1.0, top_k=k, uniform=0.1) for k in (1, 2, 3)]
    assert asked == [False, True, False]


def warped(logits, temperature, top_p, top_k):
    """What transformers' own sampling draws from, in the order of the token ids."""
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    ids = torch.zeros(len(logits), 1, dtype=torch.long)
    scores = TemperatureLogitsWarper(temperature)(ids, logits)
    if top_k:
        scores = TopKLogitsWarper(top_k)(ids, scores)
    scores = TopPLogitsWarper(top_p)(ids, scores)
    return scores.double().softmax(dim=-1)


@pytest.mark.parametrize("scale", [0.5, 6.0], ids=["all tokens sorted", "some tokens sorted"])
@pytest.mark.parametrize("top_p", [0.3, 0.9, 1.0])
@pytest.mark.parametrize("top_k", [0, 20])
def test_tokens_are_those_of_the_shares_of_transformers(scale, top_p, top_k):
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(200, 5000, generator=generator)
    uniform = torch.rand(200, generator=generator, dtype=torch.float64)
    limits = torch.full((200,), top_p), torch.full((200,), top_k)
    how = Sampling(torch.full((200,), 0.8), *limits, uniform)
    shares = warped(logits, 0.8, top_p, top_k)
    expected = (shares.cumsum(dim=-1) > uniform[:, None]).int().argmax(dim=-1)
    tokens, doubtful = choose(logits, how, 1e-6)
    assert torch.equal(tokens[~doubtful], expected[~doubtful])
    assert doubtful.sum() < 20


def test_tokens_as_likely_as_the_last_that_is_sorted_are_not_lost():
    """Of 4096 equal tokens the first half is the nucleus, however few are sorted."""
    flat = torch.zeros(1, 4096)
    numbers = (0.0, 0.5, 0.9999)
    drawn = [choose(flat, sampling(1.0, 0.5, uniform=u), 0.0)[0].item() for u in numbers]
    assert drawn == [0, 1024, 2047]


def test_a_number_at_the_beginning_is_not_doubtful():
    """Nothing stands before the first token that a share could be taken from."""
    assert not doubtful([0.0, 0.0], temperature=1.0, uniform=0.0)
    assert not doubtful([0.0, 0.0, -9.0], temperature=1.0, top_p=0.9, uniform=0.0)


@given(
    place=st.tuples(st.integers(0, 2), st.integers(0, 4)),
    broken=st.sampled_from([math.nan, math.inf]),
    temperature=st.sampled_from([0.0, 0.8]),
    tolerance=st.sampled_from([0.0, 1e-4]),
    half=st.booleans(),
)
def test_no_token_is_chosen_of_logits_that_are_not_finite(
    place, broken, temperature, tolerance, half
):
    """`argmax` gives the place of a NaN: the first word of the vocabulary, again and again."""
    logits = torch.arange(15.0).reshape(3, 5).to(torch.float16 if half else torch.float32)
    how = Sampling(
        torch.full((3,), temperature), torch.full((3,), 0.9), torch.full((3,), 3),
        torch.full((3,), 0.5, dtype=torch.float64),
    )  # fmt: skip
    choose(logits, how, tolerance)
    logits[place] = broken
    with pytest.raises(ModelError, match=r"not finite.*SAFEREACT_PRECISION"):
        choose(logits, how, tolerance)


def test_tokens_that_a_model_rules_out_are_not_chosen():
    logits = torch.tensor([[1.0, -math.inf, 2.0]])
    assert choose(logits, sampling(), 0.0)[0].item() == 2
    with pytest.raises(ModelError):
        choose(torch.full((1, 3), -math.inf), sampling(), 0.0)
