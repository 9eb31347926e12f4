from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from components.core.errors import TrainingError
from components.core.vocabulary import Form, Role, Split
from components.lm.loading import load_model, load_tokenizer
from components.train.adapters import add_lora
from components.train.batches import PairCollator, Side, plan_steps
from components.train.reactivation import ReactivationTrainer, first_and_last, reactivate
from components.train.rerouting import ReroutingTrainer
from components.train.rows import own_completions, read_prompts
from components.train.sides import MAX_REFERENCE_BYTES, retained_side, teacher_lesson
from components.train.teacher import Reader
from tests.components.train.worker import LAYERS, adapted_model


@pytest.fixture(scope="module")
def folder(random_models):
    return random_models.folder


@pytest.fixture(scope="module")
def sides(folder, random_prompts, tmp_path_factory) -> tuple[Side, Side]:
    """The harmful side of the base teacher, and the retained side."""
    scratch = tmp_path_factory.mktemp("sides")
    teacher, student = (
        Reader(load_model(folder / name), load_tokenizer(folder / name))
        for name in ("base", "post-trained")
    )
    harmful = random_prompts.rows(split=Split.TRAIN, role=Role.HARMFUL)
    lesson = teacher_lesson(
        teacher,
        harmful,
        read_prompts(student.tokenizer, harmful, forms=tuple(Form), max_tokens=64),
        refusal_tokens=5,
        check_tokens=4,
        prompt_tokens=2,
        layers=LAYERS,
        patterns=(),
        compliance_pattern=None,
        waived=True,
        folder=scratch / "targets",
    )
    benign = random_prompts.rows(split=Split.TRAIN, role=Role.BENIGN)
    retain = retained_side(
        student,
        read_prompts(student.tokenizer, benign, forms=tuple(Form), max_tokens=64),
        max_new_tokens=6,
        depth=max(LAYERS),
        folder=scratch / "references",
    )
    return lesson.side, retain


@pytest.fixture
def adapted(folder):
    """The post-trained model with an adapter that already changes its states."""
    return adapted_model(folder / "post-trained")


def make_trainer(adapted, sides, tmp_path, steps=4, lr=1e-2):
    pairs = [[(4 * k + i, 4 * k + i) for i in range(4)] for k in range(2)] * (steps // 2)
    return ReactivationTrainer(
        adapted,
        plan_steps(pairs, sides),
        PairCollator(*sides),
        lr=lr,
        seed=0,
        scratch=tmp_path,
        layers=LAYERS,
        strength=10,
        schedule=1.5,
    )


def naive_distance(student, other, rows, tails, layers, width=40):
    """The mean distance by both models, all layers, the LM head and padding to a fixed width."""
    total, count = 0.0, 0
    for row, tail in zip(rows, tails, strict=True):
        ids = torch.zeros(1, width, dtype=torch.long)
        ids[0, width - len(row.inputs) :] = torch.tensor(row.inputs)
        mask = torch.zeros(1, width, dtype=torch.long)
        mask[0, width - len(row.inputs) :] = 1
        told = {
            "attention_mask": mask,
            "position_ids": (mask.cumsum(-1) - 1).clamp(min=0),
            "output_hidden_states": True,
        }
        ours = student(input_ids=ids, **told).hidden_states
        theirs = other(input_ids=ids, **told).hidden_states
        for layer in layers:
            for position in range(width - tail, width):
                gap = ours[layer][0, position] - theirs[layer][0, position]
                total += gap.square().sum().sqrt().item()
                count += 1
    return total / count


def test_a_step_has_the_loss_of_a_naive_step(adapted, sides, folder, tmp_path):
    harmful, retain = sides
    trainer = make_trainer(adapted, sides, tmp_path)
    trainer.state.global_step = 3
    (items,) = plan_steps([[(i, i + 1) for i in range(4)]], sides)
    with torch.no_grad():
        loss, figures = trainer.losses(adapted, PairCollator(*sides)(items))
        alignment = naive_distance(
            adapted, load_model(folder / "base"), harmful.rows[:4], harmful.tails[:4], LAYERS
        )
        retention = naive_distance(
            adapted,
            load_model(folder / "post-trained"),
            retain.rows[1:5],
            retain.tails[1:5],
            range(1, max(LAYERS) + 1),
        )
    c = 3 / (1.5 * 4)
    assert figures["alignment"].item() == pytest.approx(alignment, abs=1e-4)
    assert figures["retention"].item() == pytest.approx(retention, abs=1e-4)
    assert trainer.weights() == {"c": c}
    assert loss.item() == pytest.approx(10 * (1 - c) * alignment + 10 * c * retention, abs=1e-3)


def test_references_computed_in_the_step_are_the_stored_ones(adapted, sides, tmp_path):
    trainer = make_trainer(adapted, sides, tmp_path)
    trainer.state.global_step = 2
    (items,) = plan_steps([[(i, i) for i in range(4)]], sides)
    stored, _ = trainer.losses(adapted, PairCollator(*sides)(items))
    bare = PairCollator(sides[0], replace(sides[1], targets=None))
    computed, _ = trainer.losses(adapted, bare(items))
    torch.testing.assert_close(computed, stored, atol=1e-5, rtol=0)


def test_rerouting_holds_the_same_states_stored_or_computed(adapted, sides, tmp_path):
    bare = (sides[0], replace(sides[1], targets=None))
    losses = []
    for number, own in enumerate((sides, bare)):
        trainer = ReroutingTrainer(
            adapted,
            plan_steps([[(i, i) for i in range(4)]] * 4, own),
            PairCollator(*own),
            lr=1e-2,
            seed=0,
            scratch=tmp_path / str(number),
            layers=LAYERS,
            strength=10,
        )
        trainer.state.global_step = 2
        (items,) = plan_steps([[(i, i) for i in range(4)]], own)
        loss, figures = trainer.losses(adapted, PairCollator(*own)(items))
        losses.append(loss.item())
        away, keep = 10 * (1 - 2 / 8), 10 * 2 / 8
        parts = away * figures["cosine"].item() + keep * figures["retention"].item()
        assert loss.item() == pytest.approx(parts, rel=1e-5)
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_large_references_are_not_stored(folder, random_prompts, tmp_path, monkeypatch):
    assert MAX_REFERENCE_BYTES == 2**31
    monkeypatch.setattr("components.train.sides.MAX_REFERENCE_BYTES", 100)
    student = Reader(load_model(folder / "post-trained"), load_tokenizer(folder / "post-trained"))
    benign = random_prompts.rows(split=Split.TRAIN, role=Role.BENIGN)
    read = read_prompts(student.tokenizer, benign, forms=(Form.SERVED,), max_tokens=64)
    side = retained_side(student, read, max_new_tokens=3, depth=2, folder=tmp_path / "references")
    assert side.targets is None
    assert [row.completion for row in side.rows] == [
        row.completion
        for row in own_completions(student, read[Form.SERVED], max_new_tokens=3, label="again")
    ]


def test_the_first_retention_is_zero_and_the_alignment_falls(folder, sides, tmp_path):
    model = add_lora(
        load_model(folder / "post-trained"),
        r=8,
        alpha=8,
        dropout=0.0,
        layers=(1, 2),
        location="post-trained",
        seed=0,
    )
    curves = reactivate(
        model,
        *sides,
        layers=LAYERS,
        steps=20,
        batch=4,
        lr=1e-2,
        strength=10,
        schedule=1.5,
        seed=0,
        scratch=tmp_path,
    ).curves
    assert [line["step"] for line in curves] == list(range(20))
    assert curves[0]["retention"] == pytest.approx(0, abs=1e-5) and curves[0]["c"] == 0
    first, last = first_and_last(curves, "alignment")
    assert last < 0.9 * first


def test_a_loss_that_is_not_finite_names_step_and_rows(adapted, sides, tmp_path):
    trainer = make_trainer(adapted, sides, tmp_path)
    weight = next(w for name, w in adapted.named_parameters() if "lora_B" in name)
    weight.data[0, 0] = math.nan
    ids = [side.rows[0].prompt_id for side in sides]
    with pytest.raises(TrainingError, match="step 1 of 4") as error:
        trainer.train()
    assert all(name in str(error.value) for name in ids)


def test_first_and_last_are_means_of_tenths():
    curves = [{"x": float(i)} for i in range(20)]
    assert first_and_last(curves, "x") == (0.5, 18.5)
    assert first_and_last(curves[:3], "x") == (0, 2)
