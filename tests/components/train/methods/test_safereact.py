"""SafeReAct's loss: by hand, and as the step of a naive training has it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.core.errors import TrainingError
from components.core.vocabulary import Form
from components.lm.loading import load_model
from components.train.batches import Plan, paired
from components.train.data import TrainingData
from components.train.methods import CircuitBreakers, SafeReAct, train_adapter
from components.train.methods.safereact import mean_distance
from components.train.settings import CircuitBreaker, Lora, TrainSettings
from components.train.student import Student
from components.train.trainer import AdapterTrainer
from tests.components.train.worker import LAYERS, adapted_model

METHOD = SafeReAct(TrainSettings(steps=4, strength=10, schedule=1.5), LAYERS, 3)


@pytest.fixture(scope="module")
def data(quick, random_prompts, random_models, make_probe, tmp_path_factory) -> TrainingData:
    """What the base teaches in two forms, and what is to be retained."""
    changes = {
        "forms": (Form.SERVED, Form.FORCED_THOUGHT),
        "refusal_tokens": 5,
        "retain_tokens": 6,
        "lora": Lora(r=8, alpha=8, dropout=0),
        "steps": 20,
    }
    section, probe = quick.model_copy(update=changes), make_probe(target_layers=LAYERS)
    scratch = tmp_path_factory.mktemp("data")
    return TrainingData(section, random_prompts, random_models, probe, 0, scratch)


@pytest.fixture(scope="module")
def groups(data):
    return METHOD.targets(data)


@pytest.fixture
def adapted(random_models):
    """The post-trained model with an adapter that already changes its states."""
    return adapted_model(random_models.folder / "post-trained")


def batch_of(groups, items):
    plan = Plan(groups, [items], {})
    return plan.collate(plan.items(0))


@pytest.fixture
def without_states(groups):
    """The same rows, the states to retain computed in the step."""
    return {**groups, "retained": replace(groups["retained"], stored=None)}


def naive_distance(student, other, rows, tails, layers, width=40):
    """The mean distance by both models, all layers, the LM head and padding to a fixed width."""
    total, count = 0.0, 0
    for row, tail in zip(rows, tails, strict=True):
        ids = torch.zeros(1, width, dtype=torch.long)
        ids[0, width - len(row.inputs) :] = torch.tensor(row.inputs)
        mask = torch.zeros(1, width, dtype=torch.long)
        mask[0, width - len(row.inputs) :] = 1
        options = {
            "attention_mask": mask,
            "position_ids": (mask.cumsum(-1) - 1).clamp(min=0),
            "output_hidden_states": True,
        }
        ours = student(input_ids=ids, **options).hidden_states
        theirs = other(input_ids=ids, **options).hidden_states
        for layer in layers:
            for position in range(width - tail, width):
                gap = ours[layer][0, position] - theirs[layer][0, position]
                total += gap.square().sum().sqrt().item()
                count += 1
    return total / count


def test_a_step_has_the_loss_of_a_naive_step(adapted, groups, random_models):
    harmful, retained = groups["harmful"], groups["retained"]
    folder = random_models.folder
    with torch.no_grad():
        loss = METHOD.loss(Student(adapted), batch_of(groups, [(i, i + 1) for i in range(4)]), 3)
        alignment = naive_distance(
            adapted, load_model(folder / "base"), harmful.rows[:4], harmful.counted[:4], LAYERS
        )
        retention = naive_distance(
            adapted,
            load_model(folder / "post-trained"),
            retained.rows[1:5],
            retained.counted[1:5],
            range(1, max(LAYERS) + 1),
        )
    c = 3 / (1.5 * 4)
    assert loss.figures["alignment"].item() == pytest.approx(alignment, abs=1e-4)
    assert loss.figures["retention"].item() == pytest.approx(retention, abs=1e-4)
    assert loss.weights == {"c": c}
    total = 10 * (1 - c) * alignment + 10 * c * retention
    assert loss.total.item() == pytest.approx(total, abs=1e-3)


def test_the_weight_of_retention_rises_from_zero_to_two_thirds():
    method = SafeReAct(TrainSettings(steps=100, schedule=1.5), LAYERS, 3)
    assert [method.schedule(step) for step in (0, 75, 100)] == pytest.approx([0, 0.5, 2 / 3])


def test_references_computed_in_the_step_are_the_stored_ones(adapted, groups, without_states):
    items = [(i, i) for i in range(4)]
    stored, computed = (
        METHOD.loss(Student(adapted), batch_of(own, items), 2).total
        for own in (groups, without_states)
    )
    torch.testing.assert_close(computed, stored, atol=1e-5, rtol=0)


def test_rerouting_holds_the_same_states_stored_or_computed(adapted, groups, without_states):
    method = CircuitBreakers(CircuitBreaker(layers=LAYERS, steps=4, strength=10), LAYERS, 3)
    losses = []
    for own in (groups, without_states):
        loss = method.loss(Student(adapted), batch_of(own, [(i, i) for i in range(4)]), 2)
        losses.append(loss.total.item())
        away, keep = 10 * (1 - 2 / 8), 10 * 2 / 8
        parts = away * loss.figures["cosine"].item() + keep * loss.figures["retention"].item()
        assert loss.total.item() == pytest.approx(parts, rel=1e-5)
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_the_first_retention_is_zero_and_the_alignment_falls(data, tmp_path):
    progress = train_adapter(SafeReAct(data.settings, LAYERS, 3), data, tmp_path / "a").progress
    assert [line["step"] for line in progress.curves] == list(range(20))
    assert progress.losses == ["alignment", "retention"]
    assert progress.curves[0]["retention"] == pytest.approx(0, abs=1e-5)
    assert progress.curves[0]["c"] == 0
    first, last = progress.first_and_last("alignment")
    assert last < 0.9 * first


def test_a_loss_that_is_not_finite_names_step_and_rows(adapted, groups, tmp_path):
    plan = paired(groups, steps=4, batch=4, seed=0)
    run = {"label": "a", "lr": 1e-2, "seed": 0, "scratch": tmp_path}
    trainer = AdapterTrainer(adapted, plan, METHOD.loss, **run)
    weight = next(w for name, w in adapted.named_parameters() if "lora_B" in name)
    weight.data[0, 0] = math.nan
    with pytest.raises(TrainingError, match="step 1 of 4") as error:
        trainer.train()
    for i, group in zip(plan.steps[0][0], groups.values(), strict=True):
        assert group.rows[i].prompt_id in str(error.value)


def test_mean_distance_by_hand():
    # One row of three positions, the first is padding; two layers of two hidden units.
    first = torch.tensor([[[9.0, 9.0], [3.0, 4.0], [0.0, 1.0]]])
    second = torch.tensor([[[9.0, 9.0], [0.0, 0.0], [6.0, 8.0]]])
    mask = torch.tensor([[False, True, True]])
    targets = torch.zeros(2, 2, 2)
    # Norms: 5 and 1 at the first layer, 0 and 10 at the second; their mean is 4.
    assert mean_distance([first, second], targets, mask, positions=2).item() == pytest.approx(4.0)


def test_rows_weigh_by_their_positions():
    states = torch.tensor([[[3.0, 4.0], [0.0, 0.0]], [[0.0, 2.0], [0.0, 0.0]]])
    mask = torch.tensor([[True, True], [True, False]])
    # 5, 0 of the first row and 2 of the second: a mean over three positions, not over rows.
    loss = mean_distance([states], torch.zeros(3, 1, 2), mask, positions=3)
    assert loss.item() == pytest.approx(7 / 3)


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    left=st.integers(0, 4),
    right=st.integers(0, 4),
    seed=st.integers(0, 1000),
)
def test_padding_changes_nothing(lengths, left, right, seed):
    generator = torch.Generator().manual_seed(seed)
    layers, hidden, width = 2, 3, max(lengths)
    states = [torch.randn(len(lengths), width, hidden, generator=generator) for _ in range(layers)]
    mask = torch.tensor([[k < length for k in range(width)] for length in lengths])
    targets = torch.randn(sum(lengths), layers, hidden, generator=generator)
    padded = [
        torch.cat(
            [
                torch.randn(len(lengths), left, hidden, generator=generator),
                layer,
                torch.randn(len(lengths), right, hidden, generator=generator),
            ],
            dim=1,
        )
        for layer in states
    ]
    wide = torch.nn.functional.pad(mask, (left, right))
    positions = sum(lengths)
    torch.testing.assert_close(
        mean_distance(padded, targets, wide, positions=positions),
        mean_distance(states, targets, mask, positions=positions),
    )


def test_no_gradient_where_the_states_are_the_targets():
    states = torch.ones(1, 2, 3, requires_grad=True)
    loss = mean_distance(
        [states], torch.ones(2, 1, 3), torch.ones(1, 2, dtype=torch.bool), positions=2
    )
    loss.backward()
    assert loss.item() == 0
    assert states.grad is not None and (states.grad == 0).all()
