"""Swapping adapters on one checkpoint writes what freshly loaded models write."""

from __future__ import annotations

import warnings

import pytest
from pydantic import ValidationError

from components import config
from components.evaluation.arms import completions, for_each_arm
from components.lm.loading import attach_adapter, load_model, load_tokenizer
from components.records import Arm, Role, Split


def test_swapped_adapters_leave_nothing_behind(random_models, random_prompts, random_adapter):
    asked = random_prompts.rows(split=Split.TEST, role=Role.BENIGN)[:6]

    def write(arm, model, tokenizer):
        return completions(
            model,
            tokenizer,
            asked,
            max_new_tokens={Role.BENIGN: 8},
            batch=6,
            force_thought=False,
            label=arm,
        )

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*second time.*")
        found = for_each_arm(random_models, random_adapter, write)
    assert list(found) == list(Arm)
    folder = random_models.folder / random_models.post_trained.location
    for arm, path in (
        (Arm.RESTORED, random_adapter.adapter),
        (Arm.BASELINE, random_adapter.baseline),
    ):
        fresh = attach_adapter(load_model(folder), path)
        assert found[arm] == write(arm, fresh, load_tokenizer(folder)), arm
    assert found[Arm.RESTORED] != found[Arm.BASELINE]
    assert [completion.prompt_id for completion in found[Arm.BASE]] == [p.id for p in asked]


def test_a_template_that_opens_the_thought(tmp_path, random_prompts):
    from tests.checkpoints import TEMPLATE, write_checkpoint

    template = TEMPLATE.replace("<|assistant|>{% endif", "<|assistant|><think>{% endif")
    folder = write_checkpoint(tmp_path / "opens", template=template)
    (prompt,) = random_prompts.rows(split=Split.TEST, role=Role.HARMFUL)[:1]
    (written,) = completions(
        load_model(folder),
        load_tokenizer(folder),
        [prompt],
        max_new_tokens={Role.HARMFUL: 4},
        batch=1,
        force_thought=False,
        label="test",
    )
    assert written.thought is not None


def test_every_role_needs_a_token_limit():
    with pytest.raises(ValidationError, match=r"max_new_tokens lacks a number for harmful, benign"):
        config.Evaluate(prompts={"harmful": 1, "benign": 1}, max_new_tokens={"reasoning": 8})
