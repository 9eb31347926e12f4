"""Arms that train nothing, on the random pair: other weights, other states, and all undone."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from components.core.errors import EvidenceError, ModelError
from components.core.paths import DIRECTIONS, FINISHED
from components.core.vocabulary import Role, Split
from components.evaluate.plan import EvaluationPlan
from components.evaluate.settings import EvaluateSettings
from components.lm.chat import render_prompt
from components.lm.engines.finished import FinishedRequests
from components.lm.engines.protocol import Request, collect
from components.lm.heads import Head
from components.lm.loading import load_model, load_tokenizer
from components.lm.states import hidden_states
from components.lm.steering import added, steered
from components.studies.compare.edits import EDITS, Held, complete_edits, most_opposed
from components.studies.compare.settings import OWN_EDITS, CompareSettings
from tests.extensions import install
from tests.root import ROOT

IDS = torch.tensor([[1, 4, 12, 13, 14, 15, 5], [1, 4, 20, 21, 22, 23, 5]])


@pytest.fixture
def probe(make_probe):
    """A probe whose directions differ by model and layer."""
    probe, generator = make_probe(target_layers=(1, 2)), torch.Generator().manual_seed(0)
    drawn = {name: torch.randn(3, 32, generator=generator) for name in ("base", "post_trained")}
    units = {name: rows / rows.norm(dim=-1, keepdim=True) for name, rows in drawn.items()}
    save_file(units, probe.folder / DIRECTIONS)
    return probe


@pytest.mark.parametrize("damage", ["cut short", "no safetensors", "empty", "of others", "gone"])
def test_directions_that_cannot_be_read_are_named(held, damage):
    path = held.probe.folder / DIRECTIONS
    content = path.read_bytes()
    path.unlink()
    if damage == "of others":
        save_file({"base": torch.eye(1)}, path)
    elif damage != "gone":
        damaged = {"cut short": content[:-9], "no safetensors": b"{" * 99, "empty": b""}
        path.write_bytes(damaged[damage])
    with pytest.raises(EvidenceError, match=f"{DIRECTIONS} does not hold .* run the stage probe"):
        held.direction("post_trained")


@pytest.fixture
def held(random_models, random_prompts, probe):
    folder = random_models.folder / "post-trained"
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    return Held(model, tokenizer, random_models, probe, random_prompts, 8)


def weights_of(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def test_weights_lie_on_the_way_to_the_base_and_come_back(held, random_models):
    own, base = (
        weights_of(load_model(random_models.folder / name)) for name in ("post-trained", "base")
    )
    with EDITS.find("interpolated")(held, 0.25):
        for name, weight in weights_of(held.model).items():
            assert torch.allclose(weight, 0.75 * own[name] + 0.25 * base[name], atol=1e-6), name
    for name, weight in weights_of(held.model).items():
        assert torch.equal(weight, own[name]), name


def test_the_blocks_that_changed_most_are_the_bases(held, random_models):
    own, base = (
        weights_of(load_model(random_models.folder / name)) for name in ("post-trained", "base")
    )

    def changed(block):
        names = [name for name in own if f".layers.{block}." in name]
        change = sum((own[name] - base[name]).square().sum() for name in names)
        return (change / sum(base[name].square().sum() for name in names)).item()

    first = max(range(3), key=changed)
    with EDITS.find("base-layers")(held, 0.3):  # one of three
        for name, weight in weights_of(held.model).items():
            source = base if f".layers.{first}." in name else own
            assert torch.equal(weight, source[name]), name
    assert all(torch.equal(w, own[name]) for name, w in weights_of(held.model).items())


def test_a_vector_is_added_to_what_its_block_writes_and_to_nothing_before(held):
    vector = torch.arange(32.0)
    with torch.no_grad():
        plain = hidden_states(held.model, IDS, (1, 2))
        with added(held.model, 2, vector):
            moved = hidden_states(held.model, IDS, (1, 2))
        again = hidden_states(held.model, IDS, (1, 2))
    assert torch.equal(moved[0], plain[0])
    assert torch.allclose(moved[1], plain[1] + vector, atol=1e-6)
    assert torch.equal(again[1], plain[1])


def test_only_the_requests_that_are_meant_are_steered(held):
    requests = [Request((*row.tolist(), 7 + k), 6) for k, row in enumerate(IDS.repeat(3, 1))]
    vector = 5 * held.direction("base")

    def written(where):
        engine = steered(held.engine, held.model, 2, vector, where)
        return collect(engine, requests, label="")

    nowhere, everywhere = (written(lambda r, v=v: [v] * len(r)) for v in (False, True))
    assert nowhere == collect(held.engine, requests, label="") and nowhere != everywhere
    third = written(lambda r: [k % 3 == 0 for k in range(len(r))])
    assert third == [(everywhere if k % 3 == 0 else nowhere)[k] for k in range(6)]


def test_prompts_are_harmful_on_the_harmful_side_of_the_halfway_point(held, random_prompts):
    """By a pass of its own, the last token's state at the layer in the middle."""
    assert held.layer == 1
    axis = held.direction("post_trained")

    def project(ids):
        with torch.no_grad():
            return float(hidden_states(held.model, torch.tensor([ids]), (1,))[0][0, -1] @ axis)

    rows = random_prompts.rows(split=Split.TRAIN)
    means = []
    for role in (Role.HARMFUL, Role.BENIGN):
        ids = [render_prompt(held.tokenizer, row.text) for row in rows if row.role is role]
        means.append(sum(map(project, ids)) / len(ids))
    assert held.means == pytest.approx(means, abs=1e-5)
    prompts = [render_prompt(held.tokenizer, row.text) for row in rows]
    requests = [Request(tuple(ids), 6) for ids in prompts]
    harmful = [project(ids) > sum(means) / 2 for ids in prompts]
    assert 0 < sum(harmful) < len(harmful)
    written = {}
    for name in ("steered", "steered-if-harmful"):
        with EDITS.find(name)(held, 50.0) as engine:
            written[name] = collect(engine, requests, label="")
    plain = collect(held.engine, requests, label="")
    expected = [written["steered"][k] if holds else plain[k] for k, holds in enumerate(harmful)]
    assert written["steered-if-harmful"] == expected
    length = held.refusal(2).norm().item()
    assert length == pytest.approx(2 * abs(means[0] - means[1]), abs=1e-5)


def test_the_heads_that_write_most_against_refusal_write_nothing(held, random_prompts):
    """What heads write by hooks of its own, prompt by prompt."""
    axis, own = held.direction("base"), weights_of(held.model)
    rows = [r for r in random_prompts.rows(split=Split.TRAIN) if r.role is Role.HARMFUL]
    read = {}
    hooks = [
        block.self_attn.o_proj.register_forward_pre_hook(
            lambda module, inputs, number=number: read.__setitem__(number, inputs[0][0, -1])
        )
        for number, block in enumerate(held.model.model.layers)
    ]
    written = {}
    for row in rows:
        with torch.no_grad():
            held.model(torch.tensor([render_prompt(held.tokenizer, row.text)]))
        for number, states in read.items():
            weight = held.model.model.layers[number].self_attn.o_proj.weight.detach()
            width = states.numel() // 4
            for head in range(4):
                columns = slice(head * width, (head + 1) * width)
                wrote = float((weight[:, columns] @ states[columns]) @ axis)
                written[number, head] = written.get((number, head), 0.0) + wrote
    for hook in hooks:
        hook.remove()
    opposed = sorted(written, key=written.get)[:3]  # a quarter of twelve
    assert all(written[place] < 0 for place in opposed)
    with EDITS.find("heads-ablated")(held, 0.25):
        for name, weight in weights_of(held.model).items():
            expected = own[name].clone()
            for number, head in opposed:
                if name == f"model.layers.{number}.self_attn.o_proj.weight":
                    width = weight.shape[1] // 4
                    expected[:, head * width : (head + 1) * width] = 0
            assert torch.equal(weight, expected), name
    assert all(torch.equal(w, own[name]) for name, w in weights_of(held.model).items())


def test_heads_are_chosen_by_hand():
    contributions = torch.tensor([[0.5, -2.0, 0.1], [-1.0, -3.0, 0.2]])
    assert most_opposed(contributions, 0.17) == [Head(2, 1)]  # one of six
    assert most_opposed(contributions, 0.5) == [Head(2, 1), Head(1, 1), Head(2, 0)]
    # Of four heads in six one writes for refusal, and stays.
    assert most_opposed(contributions, 0.67) == [Head(2, 1), Head(1, 1), Head(2, 0)]
    with pytest.raises(ModelError, match=r"a share of 0\.05 of 6 attention heads is none"):
        most_opposed(contributions, 0.05)
    with pytest.raises(ModelError, match="no attention head writes against"):
        most_opposed(contributions.abs(), 0.5)


@pytest.fixture
def complete(random_models, random_prompts, probe, tmp_path):
    settings = EvaluateSettings(
        prompts=dict.fromkeys(Role, 3), max_new_tokens=dict.fromkeys(Role, 5), batch=8
    )
    rows = [row for row in random_prompts.own_test() if row.role is Role.HARMFUL]
    plan = EvaluationPlan.of(settings, rows[:3], seed=0)

    def run(edits, models=random_models):
        with FinishedRequests(tmp_path / FINISHED) as finished:
            return complete_edits(
                plan, edits, models, probe, random_prompts, batch=8, finished=finished
            )

    return run


def test_every_edit_in_every_amount_is_an_arm(complete):
    written, unable = complete({"interpolated": (0.5, 1), "steered": (3,)})
    assert unable == {}
    assert list(written) == ["interpolated-0.5", "interpolated-1", "steered-3"]
    texts = {tuple(c.text for c in own.completions.values()): arm for arm, own in written.items()}
    assert len(texts) == 3
    assert complete({}) == ({}, {})


def test_an_edit_of_another_package_is_an_arm(complete, tmp_path, monkeypatch):
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    code = page.partition("## An edit\n")[2].partition("```python\n")[2].partition("```")[0]
    install(tmp_path, monkeypatch, kind="edits", name="faded", code=code)
    section = CompareSettings(edits={"faded": (0.5, 2)})
    written, unable = complete(section.edits)
    assert unable == {} and list(written) == ["faded-0.5", "faded-2"]
    same, turned = ([c.text for c in own.completions.values()] for own in written.values())
    assert turned != same


def test_what_cannot_be_made_of_a_pair_has_its_reason(complete, random_models, monkeypatch):
    other = random_models.model_copy(update={"same_lineage": False})
    other._folder = random_models.folder
    written, unable = complete({"base-layers": (0.5,), "steered-if-harmful": (1,)}, other)
    assert list(written) == ["steered-if-harmful-1"]
    assert "another lineage" in unable["base-layers-0.5"]
    monkeypatch.setenv("SAFEREACT_ENGINE", "openai")
    written, unable = complete({"steered": (1,)})
    assert written == {} and "written by openai" in unable["steered-1"]


def test_shares_are_at_most_one():
    with pytest.raises(ValueError, match=r"edits\.interpolated takes shares of at most 1, not 2"):
        CompareSettings(edits={"interpolated": (0.5, 2)})
    with pytest.raises(ValueError, match=r"edits\.heads-ablated takes shares"):
        CompareSettings(edits={"heads-ablated": (3,)})
    with pytest.raises(ValueError, match="no 'faded' among the edits"):
        CompareSettings(edits={"faded": (1,)})
    assert set(CompareSettings().edits) == set(OWN_EDITS) <= set(EDITS.names())
