"""Swapping adapters on one checkpoint writes what freshly loaded models write."""

from __future__ import annotations

import warnings

import pytest
from pydantic import ValidationError

from components.core.errors import EvidenceError
from components.core.vocabulary import OWN_ARMS, Arm, Form, Role, Split
from components.evaluate.completions import ArmModel, complete_arms, tokens_left
from components.evaluate.plan import EvaluationPlan
from components.evaluate.settings import EvaluateSettings
from components.lm.adapters import attach_adapter
from components.lm.engines.finished import FinishedRequests
from components.lm.loading import load_model, load_tokenizer

SECTION = EvaluateSettings(max_new_tokens=dict.fromkeys(Role, 8))


def test_swapped_adapters_leave_nothing_behind(
    tmp_path, random_models, random_prompts, random_adapter
):
    asked = random_prompts.rows(split=Split.TEST, role=Role.BENIGN)[:6]
    plan = EvaluationPlan.of(SECTION, asked, seed=0)

    with warnings.catch_warnings(), FinishedRequests(tmp_path / "finished.jsonl") as finished:
        warnings.filterwarnings("error", message=".*second time.*")
        found = complete_arms(plan, random_models, random_adapter, batch=6, finished=finished)
    assert list(found) == list(OWN_ARMS)
    folder = random_models.folder / random_models.post_trained.location
    for arm, path in (
        (Arm.RESTORED, random_adapter.adapter),
        (Arm.BASELINE, random_adapter.baseline),
    ):
        fresh = attach_adapter(load_model(folder), path)
        model = ArmModel.in_memory(arm, fresh, load_tokenizer(folder), batch=3)
        assert found[arm] == model.complete(plan), arm
    assert found[Arm.RESTORED].completions != found[Arm.BASELINE].completions
    assert [place.prompt_id for place in found[Arm.BASE].completions] == [p.id for p in asked]


def test_a_template_that_opens_the_thought(tmp_path, random_prompts):
    from tests.checkpoints import TEMPLATE, write_checkpoint

    template = TEMPLATE.replace("<|assistant|>{% endif", "<|assistant|><think>{% endif")
    folder = write_checkpoint(tmp_path / "opens", template=template)
    (prompt,) = random_prompts.rows(split=Split.TEST, role=Role.HARMFUL)[:1]
    plan = EvaluationPlan.of(SECTION, [prompt], seed=0, forced_thought=True)
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    written = ArmModel.in_memory(Arm.BASE, model, tokenizer, batch=1).complete(plan)
    ((place, completion),) = written.completions.items()
    assert [place] == list(written.places)
    assert place.form == Form.SERVED  # which is the forced one here, asked once
    assert completion.thought is not None


def test_every_role_needs_a_token_limit():
    with pytest.raises(ValidationError, match=r"max_new_tokens lacks a number for harmful, benign"):
        EvaluateSettings(prompts={"harmful": 1, "benign": 1}, max_new_tokens={"reasoning": 8})


def test_the_context_cuts_a_completion_and_leaves_no_room_for_a_long_prompt(random_prompts):
    (prompt,) = random_prompts.rows(split=Split.TEST, role=Role.HARMFUL)[:1]
    (suite,) = EvaluationPlan.of(SECTION, [prompt], seed=0).suites
    assert tokens_left(suite, prompt, length=10, context=100) == 8
    assert tokens_left(suite, prompt, length=95, context=100) == 5
    with pytest.raises(EvidenceError, match=r"has 100 tokens, and the model reads 100"):
        tokens_left(suite, prompt, length=100, context=100)
