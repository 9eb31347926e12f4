"""The pair made from one checkpoint: which examples are drawn, and what is written."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from components.core.errors import DataError, ModelError
from components.core.vocabulary import Role, Split
from components.lm.chat import render_prompt
from components.lm.loading import load_model, load_tokenizer
from components.models.learning import Example, draw_examples
from components.models.post_training import (
    build_post_trained,
    drawn,
    make_pools,
    open_source,
    own_answers,
    reference_example,
)
from components.models.settings import FineTune, PostTrain
from tests.checkpoints import TEMPLATE, write_checkpoint

REFUSAL = "sorry can not help with that ."


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("source"), seed=3)


@pytest.fixture(scope="module")
def opened(source: Path):
    return open_source(str(source), None, "source")


def phase(**shares: float) -> FineTune:
    return FineTune(steps=2, batch=4, micro_batch=2, lr=1e-2, max_tokens=64, **shares)


def section(source: Path, **changes: object) -> PostTrain:
    settings: dict = {
        "source": str(source),
        "refusal": REFUSAL,
        "align": phase(harmful=0.5, benign=0.5),
        "post_train": phase(benign=0.25, reasoning=0.75),
        "own_answers": 6,
        "own_answer_tokens": 4,
    }
    return PostTrain(**{**settings, **changes})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_model(folder, device=torch.device("cpu")).state_dict()


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def built(source: Path, random_prompts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pair")
    build_post_trained(section(source), random_prompts.rows(), seed=0, out=out)
    return out


def test_alignment_and_post_training_both_change_the_weights(source: Path, built: Path) -> None:
    pair = weights(built / "base"), weights(built / "post-trained")
    assert not equal(weights(source), pair[0])
    assert not equal(*pair)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(
    source: Path, built: Path, random_prompts, tmp_path: Path
) -> None:
    for seed in (0, 1):
        out = tmp_path / str(seed)
        build_post_trained(section(source), random_prompts.rows(), seed=seed, out=out)
        same = equal(weights(built / "post-trained"), weights(out / "post-trained"))
        assert same == (seed == 0)


def test_a_decay_is_of_its_own_phase(
    source: Path, built: Path, random_prompts, tmp_path: Path
) -> None:
    falling = phase(benign=0.25, reasoning=0.75).model_copy(update={"decay": True})
    rows = random_prompts.rows()
    build_post_trained(section(source, post_train=falling), rows, seed=0, out=tmp_path)
    assert equal(weights(built / "base"), weights(tmp_path / "base"))
    assert not equal(weights(built / "post-trained"), weights(tmp_path / "post-trained"))


def test_without_alignment_the_base_is_the_source(
    source: Path, random_prompts, tmp_path: Path
) -> None:
    build_post_trained(section(source, align=None), random_prompts.rows(), seed=0, out=tmp_path)
    assert equal(weights(source), weights(tmp_path / "base"))


def test_pools_come_from_training_rows_with_what_each_role_learns(opened, random_prompts) -> None:
    model, tokenizer = opened
    rows = random_prompts.rows(split=Split.TRAIN)
    counts = {Role.HARMFUL: 5, Role.BENIGN: 0, Role.REASONING: 99}
    pools = pools_of(model, tokenizer, rows, counts)
    assert {role: len(pool) for role, pool in pools.items()} == {
        Role.HARMFUL: 5, Role.BENIGN: 0, Role.REASONING: 12,
    }  # fmt: skip
    prompts = {tuple(render_prompt(tokenizer, row.text)): row.role for row in rows}
    for role, pool in pools.items():
        for example in pool:
            assert prompts[prompt_of(example)] is role


def test_harmful_prompts_are_answered_by_the_refusal_and_reasoning_by_the_thought(
    opened, random_prompts
) -> None:
    tokenizer = opened[1]
    harmful = random_prompts.rows(role=Role.HARMFUL)[0]
    reasoning = replace(random_prompts.rows(role=Role.REASONING)[0], response=None, answer="7")
    refused = reference_example(harmful, tokenizer, REFUSAL)
    solved = reference_example(reasoning, tokenizer, REFUSAL)
    assert response_of(refused, tokenizer) == f"{REFUSAL} <|end|>"
    solution = response_of(solved, tokenizer)
    assert solution.startswith("<think>") and solution.endswith("<|end|>")
    assert "one plus two equals three ." in solution
    assert "</think>" in solution and "<unk> answer is <unk>" in solution  # The, 7.


def test_a_thought_that_the_template_opens_is_not_opened_again(
    tmp_path: Path, random_prompts
) -> None:
    write_checkpoint(
        tmp_path, template=TEMPLATE.replace("<|assistant|>{%", "<|assistant|><think>{%")
    )
    tokenizer = load_tokenizer(tmp_path)
    row = random_prompts.rows(role=Role.REASONING)[0]
    example = reference_example(row, tokenizer, REFUSAL)
    text = tokenizer.decode(example.input_ids)
    assert (text.count("<think>"), text.count("</think>")) == (1, 1)


def test_own_answers_are_what_the_model_writes_where_it_is_language(opened, random_prompts) -> None:
    model, tokenizer = opened
    rows = random_prompts.rows(role=Role.BENIGN)
    examples = own_answers(model, tokenizer, rows, 5)
    assert 0 < len(examples) <= len(rows)
    for example in examples:
        prompt = torch.tensor([prompt_of(example)])
        written = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=5
        )
        assert tuple(written[0].tolist()) == example.input_ids


def test_every_example_of_a_pool_is_drawn_as_often_as_any_other() -> None:
    pools = {
        Role.HARMFUL: [Example((i,), (True,)) for i in range(3)],
        Role.BENIGN: [Example((10 + i,), (True,)) for i in range(8)],
    }
    examples = draw_examples(pools, {Role.HARMFUL: 6, Role.BENIGN: 5}, np.random.default_rng(0))
    times = Counter(example.input_ids[0] for example in examples)
    assert [times[i] for i in range(3)] == [2, 2, 2]
    assert sorted(times[10 + i] for i in range(8)) == [0, 0, 0, 1, 1, 1, 1, 1]


def test_shares_become_numbers_of_examples() -> None:
    settings = FineTune(steps=10, batch=8, harmful=0.5, benign=0.3, reasoning=0.2)
    assert drawn(settings) == {Role.HARMFUL: 40, Role.BENIGN: 24, Role.REASONING: 16}


@pytest.mark.parametrize("role", [Role.HARMFUL, Role.BENIGN, Role.REASONING])
def test_a_role_with_a_share_but_no_rows_is_named(opened, random_prompts, role: Role) -> None:
    rows = [row for row in random_prompts.rows() if row.role is not role]
    with pytest.raises(DataError, match=f"draws {role} prompts, but none"):
        pools_of(*opened, rows, {role: 3})


def test_reasoning_rows_without_thoughts_are_no_help(opened, random_prompts) -> None:
    rows = [replace(row, thought=None) for row in random_prompts.rows(role=Role.REASONING)]
    with pytest.raises(DataError, match="each with a `thought` and an `answer`"):
        pools_of(*opened, rows, {Role.REASONING: 3})


def test_chatml_needs_its_two_tokens(source: Path) -> None:
    with pytest.raises(ModelError, match=r"`template: chatml`.*<\|im_start\|>"):
        open_source(str(source), None, "chatml")


def test_a_source_without_template_says_how_to_mend_it(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no chat template"):
        open_source(str(tmp_path), None, "source")


def pools_of(model, tokenizer, rows, counts):
    return make_pools(
        model,
        tokenizer,
        rows,
        PostTrain(
            source="x", refusal=REFUSAL, own_answer_tokens=4, post_train=FineTune(reasoning=1)
        ),
        counts=counts,
        generator=np.random.default_rng(0),
    )


def prompt_of(example: Example) -> tuple[int, ...]:
    return tuple(
        token
        for token, learned in zip(example.input_ids, example.is_response, strict=True)
        if not learned
    )


def response_of(example: Example, tokenizer) -> str:
    pairs = zip(example.input_ids, example.is_response, strict=True)
    return tokenizer.decode([token for token, learned in pairs if learned])
