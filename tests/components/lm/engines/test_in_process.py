"""The batch that never runs empty writes what each prompt would be answered alone."""

from __future__ import annotations

import copy
import random
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from transformers import GenerationConfig

from components.core.errors import ModelError
from components.lm.engines import in_process as in_process_module
from components.lm.engines.in_process import RunningBatch, RunningSample, cache_room, in_process
from components.lm.engines.protocol import CACHED_TOKENS, Request, collect
from tests.components.lm.engines.models import ARCHITECTURES, ENDS, prompts, random_model, requests


def written(model, asked, *, rows, **settings):
    return collect(in_process(model, ENDS, rows=rows, **settings), asked, label="test")


def alone(model, request):
    """What transformers writes after one prompt."""
    settings = GenerationConfig(
        max_new_tokens=request.max_new_tokens,
        do_sample=False,
        eos_token_id=sorted(ENDS),
        pad_token_id=0,
    )
    ids = torch.tensor([request.prompt])
    output = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)
    return tuple(output[0, ids.shape[1] :].tolist())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_equals_transformers_one_prompt_at_a_time(architecture):
    model, asked = random_model(architecture), requests(14)
    expected = [(alone(model, request),) for request in asked]
    lengths = {len(samples[0]) for samples in expected}
    assert 20 in lengths and len(lengths) > 3  # the limit, and ends of different length
    for rows in (1, 3, 32):
        assert written(model, asked, rows=rows) == expected
    order = random.Random(rows).sample(range(14), 14)
    assert written(model, [asked[i] for i in order], rows=5) == [expected[i] for i in order]


def sampled_alone(model, request):
    """What transformers would write after one prompt if it drew by the request's own numbers."""
    settings = GenerationConfig(
        max_new_tokens=1,
        do_sample=True,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        pad_token_id=0,
        eos_token_id=sorted(ENDS),
        output_scores=True,
        return_dict_in_generate=True,
    )
    numbers = torch.Generator().manual_seed(request.sample_seed(0))
    ids = list(request.prompt)
    for number in torch.rand(request.max_new_tokens, generator=numbers, dtype=torch.float64):
        given = torch.tensor([ids])
        output = model.generate(
            given, attention_mask=torch.ones_like(given), generation_config=settings
        )
        shares = output.scores[0][0].double().softmax(dim=-1)
        ids.append(int((shares.cumsum(dim=-1) > number).int().argmax()))
        if ids[-1] in ENDS:
            break
    return tuple(ids[len(request.prompt) :])


@pytest.mark.parametrize(("top_p", "top_k"), [(0.7, 0), (1.0, 0), (0.9, 5)])
def test_sampled_equals_the_scores_of_transformers_one_prompt_at_a_time(top_p, top_k):
    model = random_model()
    asked = requests(10, temperature=0.9, top_p=top_p, top_k=top_k, seed=3)
    expected = [(sampled_alone(model, request),) for request in asked]
    assert len(set(expected)) == 10
    for rows in (1, 10):
        assert written(model, asked, rows=rows) == expected


def test_limits_may_differ_from_prompt_to_prompt():
    model = random_model()
    asked = [Request(prompt, limit) for limit, prompt in enumerate(prompts(9), start=1)]
    assert written(model, asked, rows=4) == [(alone(model, request),) for request in asked]


def test_rows_that_outgrow_the_cache_wait_and_go_on():
    model, asked = random_model(), requests(12, limit=40)
    expected = written(model, asked, rows=12)
    engine = in_process(model, ENDS, rows=12, cached_tokens=150)
    with inputs_of(model) as read:
        assert collect(engine, asked, label="test") == expected
    steps = [mask for ids, mask in read if ids[1] == 1]
    assert max(rows * width for rows, width in steps if rows > 1) <= 150
    assert max(rows for rows, _ in steps) > 3


@contextmanager
def inputs_of(model):
    """Yield a list that gets the shapes of ids and mask of every forward pass."""
    shapes = []

    def note(module, args, given):
        shapes.append((tuple(given["input_ids"].shape), tuple(given["attention_mask"].shape)))

    hook = model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield shapes
    finally:
        hook.remove()


def test_samples_depend_on_seed_prompt_and_number_alone():
    model = random_model("qwen2")
    asked = requests(8, samples=3, temperature=0.9, top_p=0.8, seed=4)
    expected = written(model, asked, rows=1)
    for rows in (4, 24):
        assert written(model, asked, rows=rows) == expected
        assert written(model, asked[::-1], rows=rows) == expected[::-1]
    assert all(len(set(samples)) > 1 for samples in expected)
    assert written(model, requests(8, samples=3, temperature=0.9, top_p=0.8, seed=5), rows=4) != (
        expected
    )
    fewer = requests(8, samples=2, temperature=0.9, top_p=0.8, seed=4)
    assert written(model, fewer, rows=4) == [samples[:2] for samples in expected]


def test_a_longer_limit_goes_on_where_a_shorter_one_cut():
    model = random_model()
    short, long = (
        written(model, requests(6, limit=limit, temperature=1.0), rows=6) for limit in (5, 20)
    )
    assert [samples[0][:5] for samples in long] == [samples[0] for samples in short]


def test_a_prompt_of_several_samples_is_read_once():
    model = random_model()
    with inputs_of(model) as read:
        written(model, [Request((20, 21, 22, 23), 5, samples=6, temperature=1.0)], rows=6)
    # All but the last token, which the six rows read in their first step.
    assert [ids for ids, _ in read][:2] == [(1, 3), (6, 1)]


@pytest.mark.parametrize("frozen", [False, True])
def test_the_head_reads_one_position_a_row_and_no_view_of_several(frozen):
    # Of a frozen weight and a view, torch copies the weight for every row.
    model, read = random_model("llama").requires_grad_(not frozen), []
    head = model.get_output_embeddings()
    head.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    written(model, requests(14), rows=5)
    assert {tuple(part.shape[1:-1]) for part in read} == {(0,), (1,)}
    assert all(part.is_contiguous() for part in read)


def test_a_doubtful_token_is_decided_by_the_row_alone():
    """With a tolerance at which everything is doubtful, every token is computed alone."""
    model, asked = random_model(), requests(5, limit=6)
    batch = RunningBatch(model, ENDS, tolerance=10.0)
    with torch.inference_mode():
        batch.exchange([], [RunningSample(request, i, 0) for i, request in enumerate(asked)])
        for _ in range(6):
            if any(not row.ended for row in batch.rows):
                batch.step()
    found = [tuple(row.ids[len(row.request.prompt) :]) for row in batch.rows]
    assert [(row,) for row in found] == written(model, asked, rows=5)
    assert batch.doubts == sum(map(len, found))


def test_finished_requests_come_as_soon_as_they_are_finished():
    model, asked = random_model(), requests(20)
    engine = in_process(model, ENDS, rows=4)
    groups = list(engine.write(asked))
    assert len(groups) > 8
    assert sorted(i for group in groups for i in group) == list(range(20))


def test_no_requests_no_completions():
    assert list(in_process(random_model(), ENDS, rows=4).write([])) == []


def test_a_model_with_a_state_instead_of_a_cache_is_refused():
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        "qwen3_next", vocab_size=61, hidden_size=32, intermediate_size=64, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, num_experts=4,
        linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=8,
        linear_value_head_dim=8,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(ModelError, match=r"linear_attention.*SAFEREACT_ENGINE"):
        in_process(model, ENDS, rows=4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_cache_takes_a_share_of_what_a_gpu_has_free(architecture, monkeypatch):
    model = random_model(architecture)
    assert cache_room(model) == CACHED_TOKENS  # a CPU's memory is not ours alone
    batch = RunningBatch(model, ENDS, 0.0)
    with torch.inference_mode():
        batch.exchange([], [RunningSample(Request((1, 2, 3, 4, 5), 4), 0, 0)])
    layers = batch._cache.layers
    kept = sum(each.numel() * each.element_size() for la in layers for each in (la.keys, la.values))
    position = kept // layers[0].keys.shape[-2]
    elsewhere = SimpleNamespace(
        config=model.config,
        dtype=model.dtype,
        parameters=lambda: iter([SimpleNamespace(device=torch.device("cuda"))]),
    )
    monkeypatch.setattr(in_process_module, "available_memory", lambda _: 1000 * position)
    assert cache_room(elsewhere) == 400
    monkeypatch.setattr(in_process_module, "available_memory", lambda _: None)
    assert cache_room(elsewhere) == CACHED_TOKENS


def test_a_model_that_overflows_writes_nothing():
    """Its weights are finite, and what it computes in half precision is not."""
    model = copy.deepcopy(random_model()).half()
    with torch.no_grad():
        model.model.norm.weight.fill_(60_000)
    assert all(weight.isfinite().all() for weight in model.parameters())
    with pytest.raises(ModelError, match="not finite in float16"):
        written(model, requests(3), rows=2)
