"""The divergence of stored and own next tokens: by hand, and against a slow second way."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import kl_div

from components.train.divergence import FLOOR, Likely, divergence

LOGITS = st.lists(st.lists(st.floats(-20, 20), min_size=6, max_size=6), min_size=1, max_size=4).map(
    torch.tensor
)


def likely_of(*probabilities: float) -> Likely:
    return Likely(torch.arange(len(probabilities))[None], torch.tensor([probabilities]).log())


def test_by_hand():
    student = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()
    stored = likely_of(0.25, 0.25)  # half of the probability lies on the two others
    forward = 0.25 * math.log(0.25 / 0.5) + 0.25 * math.log(1) + 0.5 * math.log(0.5 / 0.25)
    backward = 0.5 * math.log(0.5 / 0.25) + 0.25 * math.log(1) + 0.25 * math.log(0.25 / 0.5)
    assert divergence(student, stored).item() == pytest.approx(forward, abs=1e-6)
    assert divergence(student, stored, reverse=True).item() == pytest.approx(backward, abs=1e-6)


def test_the_likeliest_are_stored_the_likeliest_first():
    logits = torch.tensor([[0.1, 0.6, 0.3], [0.7, 0.1, 0.2]]).log()
    found = Likely.of(logits, 2)
    assert found.tokens.tolist() == [[1, 2], [0, 2]]
    torch.testing.assert_close(found.logprobs.exp(), torch.tensor([[0.6, 0.3], [0.7, 0.2]]))
    assert Likely.of(logits, 99).tokens.shape == (2, 3)


@given(LOGITS, st.data())
def test_with_all_tokens_stored_it_is_the_divergence_of_torch(student, data):
    stored = data.draw(LOGITS.filter(lambda other: len(other) == len(student)))
    theirs, ours = (torch.log_softmax(x.double(), -1) for x in (stored, student))
    likely = Likely.of(stored, 6)
    for reverse, (target, other) in enumerate([(theirs, ours), (ours, theirs)]):
        expected = kl_div(other, target, log_target=True, reduction="sum").item()
        found = divergence(student, likely, reverse=bool(reverse)).item()
        # What is not stored counts with at least FLOOR on both sides, so nothing here.
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)


def rounding(logits: torch.Tensor, k: int) -> float:
    """Return by how much single precision may move the logarithm of what k tokens leave, in nats,
    summed over positions: the sum of k + 1 probabilities is off by 2^-24 of 1 for each."""
    left = torch.softmax(logits.double(), -1).sort(-1, descending=True).values[:, k:].sum(-1)
    return ((k + 1) * 2**-24 / left.clamp(min=FLOOR)).sum().item()


@given(LOGITS, st.data(), st.integers(1, 5), st.booleans())
def test_fewer_tokens_give_no_larger_divergence_and_never_a_negative_one(student, data, k, reverse):
    stored = data.draw(LOGITS.filter(lambda other: len(other) == len(student)))
    fewer = divergence(student, Likely.of(stored, k), reverse=reverse).item()
    whole = divergence(student, Likely.of(stored, 6), reverse=reverse).item()
    slack = 1e-3 + 50 * FLOOR + rounding(student, k) + rounding(stored, k)
    assert -slack <= fewer <= whole + slack
    assert divergence(stored, Likely.of(stored, k), reverse=reverse).item() < slack


def test_gradients_are_those_of_the_slow_way():
    generator = torch.Generator().manual_seed(0)
    stored = torch.randn(5, 11, generator=generator)
    student = torch.randn(5, 11, generator=generator, requires_grad=True)
    likely = Likely.of(stored, 11)
    (fast,) = torch.autograd.grad(divergence(student, likely), student)
    target = torch.softmax(stored, -1)
    slow = torch.softmax(student.detach(), -1) - target  # of cross-entropy with soft labels
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-4)
