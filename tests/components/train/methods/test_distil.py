"""Losses on next tokens: as a naive step has them, and what each method trains on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from components.core.vocabulary import Form
from components.lm.chat import render_prompt
from components.lm.generation import generate
from components.lm.loading import load_model
from components.lm.weights import ADAPTER_WEIGHTS
from components.train.batches import Plan
from components.train.data import TrainingData
from components.train.methods import open_method, train_adapter
from components.train.settings import BY_TOKENS, Lora, TrainSettings
from components.train.stage import train
from components.train.student import Student
from components.train.trainer import AdapterTrainer
from tests.components.train.worker import LAYERS, adapted_model

FORMS = (Form.SERVED, Form.ROLE_PLAY, Form.PREFILLED)


@pytest.fixture(scope="module")
def make_data(quick, random_prompts, random_models, make_probe, tmp_path_factory):
    """A function that returns training data of its own, in three forms."""

    def make(name: str = "data", **changes) -> TrainingData:
        section = quick.model_copy(
            update={
                "forms": FORMS,
                "refusal_tokens": 5,
                "retain_tokens": 6,
                "lora": Lora(r=8, alpha=8, dropout=0),
                "steps": 3,
                "likeliest": 10_000,  # more than there are: all
                **changes,
            }
        )
        scratch = tmp_path_factory.mktemp(name)
        probe = make_probe(target_layers=LAYERS)
        return TrainingData(section, random_prompts, random_models, probe, 0, scratch)

    return make


@pytest.fixture(scope="module")
def data(make_data) -> TrainingData:
    return make_data()


@pytest.fixture
def adapted(random_models):
    """The post-trained model with an adapter that already changes its next tokens."""
    return adapted_model(random_models.folder / "post-trained")


def next_tokens(model, row):
    """The log-probabilities at the positions that predict the row's completion."""
    logits = model(torch.tensor([row.inputs])).logits[0]
    return logits[-len(row.completion) :].log_softmax(-1)


def naive(first, second, rows):
    """The mean KL(first || second) a token, row by row."""
    total, count = 0.0, 0
    for row in rows:
        p, q = next_tokens(first, row), next_tokens(second, row)
        total += (p.exp() * (p - q)).sum().item()
        count += len(row.completion)
    return total / count


@pytest.mark.parametrize("name", ["distil", "combined"])
def test_a_step_has_the_loss_of_a_naive_step(data, adapted, random_models, name):
    method = open_method(name, data)
    plan = method.plan(data)
    items = [(i, i + 1) for i in range(3)]
    batch = Plan(plan.groups, [items], {}).collate([(0, item) for item in items])
    harmful, retained = plan.groups["harmful"].rows[:3], plan.groups["retained"].rows[1:4]
    base, before = (load_model(random_models.folder / x) for x in ("base", "post-trained"))
    with torch.no_grad():
        loss = method.loss(Student(adapted), batch, 1)
        taught, held = naive(base, adapted, harmful), naive(before, adapted, retained)
    assert loss.figures["distillation"].item() == pytest.approx(taught, abs=1e-3)
    assert loss.figures["retention"].item() == pytest.approx(held, abs=1e-3)
    total = taught + data.settings.retain_weight * held
    if name == "combined":
        total += data.settings.strength * loss.figures["alignment"].item()
    assert loss.total.item() == pytest.approx(total, abs=1e-2)


def test_wrapped_prompts_are_trained_on_and_held_like_plain_ones(data):
    groups = open_method("distil", data).plan(data).groups
    for group in groups.values():
        prompts = {row.prompt_id for row in group.rows}
        assert len(group.rows) == len(FORMS) * len(prompts)


@pytest.mark.parametrize("name", BY_TOKENS)
def test_without_a_refusal_there_is_nothing_to_compare(name):
    with pytest.raises(ValidationError, match=f"method {name} compares.*refusal_tokens is 0"):
        TrainSettings(method=name, refusal_tokens=0)
    assert TrainSettings(method="safereact", refusal_tokens=0).refusal_tokens == 0


def test_self_generated_refusals_are_those_of_the_model_itself_with_its_reminder(
    make_data, make_probe, tmp_path
):
    probe = make_probe("reminder", target_layers=LAYERS)
    data = replace(make_data("self"), probe=probe.model_copy(update={"teacher": "base"}))
    method = open_method("self-generated", data)
    tokenizer = data.tokenizer
    model = data.student().model
    for row in method.plan(method.taught(data)).groups["harmful"].rows[:4]:
        text = next(p.text for p in data.prompts.rows() if p.id == row.prompt_id)
        asked = [render_prompt(tokenizer, text, preamble=probe.reminder)]
        written = generate(model, tokenizer, asked, max_new_tokens=len(row.completion), batch=1)
        assert row.completion == tuple(written[0]) and row.prompt != tuple(asked[0])
    assert train_adapter(method, data, tmp_path / "self").progress.taken == data.settings.steps


def test_the_evidence_names_the_teacher_that_taught(
    make_data, make_probe, random_prompts, random_models, tmp_path
):
    base, reminder = (make_probe(name, target_layers=LAYERS) for name in ("base", "reminder"))
    probe = base.model_copy(update={"teachers": (*base.teachers, *reminder.teachers)})
    section = make_data("evidence").settings.model_copy(update={"method": "self-generated"})
    found = train(section, random_prompts, random_models, probe, seed=0, out=tmp_path)
    assert probe.teacher == "base" and found.teacher == "reminder"


def test_own_samples_are_the_students_and_scored_by_the_teacher(data, random_models):
    rows = data.sampled_rows(5, 0, None)
    again = data.sampled_rows(5, 1, None)
    assert len(rows.rows) == 5 and rows.rows != again.rows
    base = load_model(random_models.folder / "base")
    for i, row in enumerate(rows.rows):
        assert 0 < len(row.completion) <= data.settings.refusal_tokens
        likely = rows.stored.likely([i])
        with torch.no_grad():
            expected = next_tokens(base, row).gather(-1, likely.tokens)
        torch.testing.assert_close(likely.logprobs, expected, atol=1e-3, rtol=0)


def test_the_rate_falls_over_all_rounds(make_data, tmp_path, monkeypatch):
    data, rates, finish = make_data("falling", steps=5, decay=True), [], AdapterTrainer.finish

    def recorded(trainer):
        rates.extend(trainer.rate(step) for step in range(trainer.steps))
        return finish(trainer)

    monkeypatch.setattr(AdapterTrainer, "finish", recorded)
    train_adapter(open_method("on-policy", data), data, tmp_path / "adapter")
    assert rates == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])


def test_each_round_goes_on_with_the_adapter_before_it(make_data, tmp_path):
    data = make_data("rounds", steps=5)
    found = train_adapter(open_method("on-policy", data), data, tmp_path / "adapter")
    assert [line["step"] for line in found.progress.curves] == [0, 1, 2, 3, 4]
    assert found.progress.losses == ["distillation", "retention"]
    kept = [data.scratch / f"adapter-{k}" / ADAPTER_WEIGHTS for k in (1, 2, 3)]
    assert len({path.read_bytes() for path in kept}) == 3
    # What a killed run had finished is taken up: the same bytes.
    again = train_adapter(open_method("on-policy", data), data, tmp_path / "again")
    assert again.digest == found.digest
