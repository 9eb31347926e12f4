"""Full fine-tuning: the masked loss, accumulation, and what stops it."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import torch

from components.core.errors import TrainingError
from components.models.learning import Example, Plan, learn, pad_right, rate_factor, response_loss

EXAMPLES = [
    Example((5, 6, 7, 8), (False, False, True, True)),
    Example((9, 3, 4), (True, False, True)),
    Example((2, 8, 1, 7, 6, 3), (False, True, False, False, True, True)),
]


def _model(seed: int = 0):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=12,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            initializer_range=0.3,
        )
    ).eval()


def _slow_loss(model, example: Example) -> float:
    """Sum -log p of each flagged token from the full logits of its prefix alone."""
    total = 0.0
    for position in range(1, len(example.input_ids)):
        if example.is_response[position]:
            with torch.no_grad():
                logits = model(torch.tensor([example.input_ids[:position]])).logits[0, -1].double()
            exponents = [math.exp(value) for value in logits.tolist()]
            total -= math.log(exponents[example.input_ids[position]] / sum(exponents))
    return total


def test_the_loss_is_that_of_a_slow_computation_and_ignores_padding():
    model = _model()
    input_ids, is_response = pad_right(EXAMPLES)
    assert input_ids.shape == is_response.shape == (3, 6)
    with torch.no_grad():
        loss = response_loss(model, input_ids, is_response).item()
    assert loss == pytest.approx(sum(_slow_loss(model, item) for item in EXAMPLES), rel=1e-5)


def test_a_step_is_the_mean_over_the_batchs_response_tokens():
    model = _model()
    expected = sum(_slow_loss(model, item) for item in EXAMPLES) / 6  # a first token never counts
    losses = learn(
        model, EXAMPLES, Plan(steps=1, batch=3, lr=1e-3), generator=np.random.default_rng(0),
        phase="test",
    )  # fmt: skip
    assert losses == [pytest.approx(expected, rel=1e-5)]


def test_micro_batches_change_neither_loss_nor_weights():
    results = []
    for micro_batch in (None, 1, 2):
        model = _model()
        plan = Plan(steps=3, batch=3, lr=1e-2, micro_batch=micro_batch)
        losses = learn(model, EXAMPLES, plan, generator=np.random.default_rng(0), phase="test")
        results.append((losses, torch.cat([w.detach().flatten() for w in model.parameters()])))
    for losses, weights in results[1:]:
        assert losses == pytest.approx(results[0][0], rel=1e-4)
        torch.testing.assert_close(weights, results[0][1], rtol=1e-3, atol=1e-4)


def test_half_precision_keeps_the_weights_whole_and_the_loss_close(monkeypatch):
    plan = Plan(steps=3, batch=3, lr=1e-3)
    found = {}
    for precision in ("float32", "bfloat16"):
        monkeypatch.setenv("SAFEREACT_PRECISION", precision)
        model = _model()
        found[precision] = learn(
            model, EXAMPLES, plan, generator=np.random.default_rng(0), phase="test"
        )
        assert all(weight.dtype is torch.float32 for weight in model.parameters())
    assert found["bfloat16"] != found["float32"]
    assert found["bfloat16"] == pytest.approx(found["float32"], rel=2e-2)


def test_learning_lowers_the_loss_logs_and_ends_in_evaluation_mode(caplog):
    model = _model()
    with caplog.at_level(logging.INFO):
        losses = learn(
            model, EXAMPLES, Plan(steps=40, batch=3, lr=1e-2), generator=np.random.default_rng(0),
            phase="aligning",
        )  # fmt: skip
    assert losses[-1] < 0.5 * losses[0]
    assert not model.training
    assert len(caplog.records) == 10
    assert caplog.messages[0].startswith("aligning step 4/40 loss ")


def test_the_rate_rises_then_stays_or_falls():
    flat = Plan(steps=20, batch=1, lr=1)
    falling = Plan(steps=20, batch=1, lr=1, decay=True)
    assert [rate_factor(step, flat) for step in (0, 1, 2, 19)] == [0.5, 1, 1, 1]
    assert [rate_factor(step, falling) for step in (0, 1, 2, 19)] == pytest.approx(
        [0.5, 1, 18 / 19, 1 / 19]
    )


def test_a_loss_that_is_not_finite_stops_learning():
    model = _model()
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="aligning: the loss of step 1 of 5 is nan"):
        learn(
            model, EXAMPLES, Plan(steps=5, batch=2, lr=1e-3), generator=np.random.default_rng(0),
            phase="aligning",
        )  # fmt: skip


def test_cut_examples_without_a_response_are_left_out(caplog):
    plan = Plan(steps=1, batch=2, lr=1e-3, max_tokens=2)
    learn(_model(), EXAMPLES, plan, generator=np.random.default_rng(0), phase="test")
    assert "2 of 3 examples lost their response to the limit of 2 tokens" in caplog.text
    with pytest.raises(TrainingError, match="none of 1 examples has a response token"):
        learn(_model(), EXAMPLES[:1], plan, generator=np.random.default_rng(0), phase="test")
