"""Swapping adapters on one checkpoint writes what freshly loaded models write."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
from pydantic import ValidationError

from components.core.errors import EvidenceError
from components.core.vocabulary import ATTACKS, OWN_ARMS, Arm, Form, Role
from components.evaluate.completions import ArmModel, complete_arms, tokens_left
from components.evaluate.plan import EvaluationPlan
from components.evaluate.settings import EvaluateSettings
from components.lm import chat
from components.lm.adapters import attach_adapter
from components.lm.engines.finished import FinishedRequests
from components.lm.engines.protocol import Engine, Request
from components.lm.loading import load_model, load_tokenizer
from tests.checkpoints import TEMPLATE, write_checkpoint
from tests.evidence import suite_spec
from tests.prepared import of_role

SECTION = EvaluateSettings(max_new_tokens=dict.fromkeys(Role, 8))


def test_swapped_adapters_leave_nothing_behind(
    tmp_path, random_models, random_prompts, random_adapter
):
    asked = of_role(random_prompts.own_test(), Role.BENIGN)[:6]
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
    template = TEMPLATE.replace("<|assistant|>{% endif", "<|assistant|><think>{% endif")
    folder = write_checkpoint(tmp_path / "opens", template=template)
    (prompt,) = of_role(random_prompts.own_test(), Role.HARMFUL)[:1]
    plan = EvaluationPlan.of(SECTION, [prompt], seed=0, forced_thought=True)
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    written = ArmModel.in_memory(Arm.BASE, model, tokenizer, batch=1).complete(plan)
    ((place, completion),) = written.completions.items()
    assert [place] == list(written.places)
    assert place.form == Form.SERVED  # which is the forced one here, asked once
    assert completion.thought is not None


def test_every_form_is_asked_behind_the_system_prompt_with_the_same_sampling(
    tmp_path, random_prompts
):
    tokenizer = load_tokenizer(write_checkpoint(tmp_path / "any"))
    section = EvaluateSettings(
        max_new_tokens=dict.fromkeys(Role, 8), forced_thought=True, attacks=ATTACKS,
        attack_roles=("harmful", "benign"), system="Be brief.",
        samples=2, temperature=0.6, top_p=0.95, top_k=20,
    )  # fmt: skip
    own = [row for role in Role for row in of_role(random_prompts.own_test(), role)[:1]]
    spec = suite_spec(Role.HARMFUL)
    named = [replace(own[0], id="1" * 16, source="more")]
    plan = EvaluationPlan.of(
        section, own, {"more": (spec, named)}, seed=4, forced_thought=True, attacks=ATTACKS
    )
    asked: list[Request] = []

    def write(requests):
        asked.extend(requests)
        yield {i: ((0,),) * request.samples for i, request in enumerate(requests)}

    engine = Engine("stub", frozenset({0}), write)
    written = ArmModel(Arm.BASE, engine, tokenizer, context=10_000).complete(plan)
    forms, attacked = 2, len(ATTACKS)
    assert len(asked) == 4 * forms + 2 * attacked + forms + attacked
    begins = chat.render_turns(tokenizer, ["x"], system="Be brief.")
    begins = begins[: begins.index(tokenizer.convert_tokens_to_ids("<|user|>")) + 1]
    assert {request.prompt[: len(begins)] for request in asked} == {tuple(begins)}
    sampled = {(r.samples, r.temperature, r.top_p, r.top_k, r.seed) for r in asked}
    assert sampled == {(2, 0.6, 0.95, 20, 4), (1, 0.0, 1.0, 0, 4)}  # the suite says its own
    places = [place for place in written.completions if place.suite != "more"]
    assert len(places) == 2 * (4 * forms + 2 * attacked)
    assert {place.sample for place in places} == {0, 1}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"samples": 4}, "4 samples at temperature 0 are 4 times the same"),
        ({"top_p": 0.9}, "top_p changes nothing at temperature 0"),
        ({"top_k": 20}, "top_k changes nothing at temperature 0"),
        ({"temperature": 3}, "less than or equal to 2"),
        ({"top_k": -1, "temperature": 1}, "greater than or equal to 0"),
    ],
)
def test_sampling_that_means_nothing_is_refused(changes, told):
    with pytest.raises(ValidationError, match=told):
        EvaluateSettings.model_validate(changes)


def test_every_role_needs_a_token_limit():
    with pytest.raises(ValidationError, match=r"max_new_tokens lacks a number for harmful, benign"):
        EvaluateSettings(prompts={"harmful": 1, "benign": 1}, max_new_tokens={"reasoning": 8})


def test_the_context_cuts_a_completion_and_leaves_no_room_for_a_long_prompt(random_prompts):
    (prompt,) = of_role(random_prompts.own_test(), Role.HARMFUL)[:1]
    (suite,) = EvaluationPlan.of(SECTION, [prompt], seed=0).suites
    assert tokens_left(suite, prompt, length=10, context=100) == 8
    assert tokens_left(suite, prompt, length=95, context=100) == 5
    with pytest.raises(EvidenceError, match=r"has 100 tokens, and the model reads 100"):
        tokens_left(suite, prompt, length=100, context=100)
