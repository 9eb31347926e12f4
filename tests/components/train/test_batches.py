from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from components.core.errors import TrainingError
from components.core.vocabulary import Role, Split
from components.lm.batches import by_tokens, pad_right
from components.lm.chat import render_prompt
from components.lm.loading import load_model, load_tokenizer
from components.train.batches import Plan, TargetRows, draw_order, mixed, paired, store_targets
from components.train.rows import TrainingRow


def test_every_row_is_seen_equally_often():
    order = draw_order(12, steps=9, batch=4, generator=np.random.default_rng(0))
    assert [len(batch) for batch in order] == [4] * 9
    assert set(Counter(i for batch in order for i in batch).values()) == {3}


def test_the_order_depends_on_the_generator_alone():
    draw = [
        draw_order(4, steps=5, batch=2, generator=np.random.default_rng(seed)) for seed in (0, 0, 1)
    ]
    assert draw[0] == draw[1] != draw[2]


def test_batches_hold_so_many_tokens_at_most():
    sequences = [[1] * n for n in (3, 9, 4, 2, 5)]
    assert list(by_tokens(sequences, 10)) == [[1], [4], [2], [0], [3]]
    assert list(by_tokens(sequences, 18)) == [[1, 4], [2, 0], [3]]
    assert list(by_tokens(sequences, 3)) == [[1], [4], [2], [0], [3]]


def test_padding_is_on_the_right_and_the_mask_marks_the_tail():
    ids, mask = pad_right([[1, 2, 3], [4]], [2, 1])
    assert ids.tolist() == [[1, 2, 3], [4, 0, 0]]
    assert mask.tolist() == [[False, True, True], [True, False, False]]


ROWS = [TrainingRow("a", (1, 2, 3), (4, 5)), TrainingRow("b", (6, 7), (8,))]


def test_positions_of_completions_predict_them():
    plan = mixed({"harmful": (ROWS, 2)}, steps=1, seed=0)
    (batch,) = plan.collate([(0, (0,)), (0, (1,))]).values()
    assert batch.prompt_ids == ["a", "b"]
    assert batch.ids.tolist() == [[1, 2, 3, 4], [6, 7, 0, 0]]
    # Position 2 holds token 3 and predicts 4, position 3 holds 4 and predicts 5.
    assert batch.mask.tolist() == [[False, False, True, True], [False, True, False, False]]
    assert batch.completions.tolist() == [4, 5, 8]
    assert batch.predicting.equal(batch.mask)
    assert batch.positions == batch.predicted == 3
    assert batch.states is None and batch.likely is None


def test_a_batch_knows_the_positions_of_its_whole_step():
    groups = {"harmful": TargetRows(ROWS, [3, 1]), "retained": TargetRows(ROWS, [4, 2])}
    plan = Plan(groups, [[(0, 1), (1, 1)], [(0, 0)]], {})
    assert plan.items(1) == [(1, (0, 0))]
    for item in plan.items(0)[:2]:
        positions = {name: batch.positions for name, batch in plan.collate([item]).items()}
        assert positions == {"harmful": 4, "retained": 4}
    # Inputs leave out the last token: four of a, two of b.
    assert [plan.tokens(step) for step in (0, 1)] == [6 + 4, 8]


def test_each_group_of_pairs_has_its_own_order():
    rows = [TrainingRow(str(i), (1,), (2,)) for i in range(4)]
    groups = {"harmful": TargetRows(rows, [1] * 4), "retained": TargetRows(rows[:3], [1] * 3)}
    plan = paired(groups, steps=6, batch=2, seed=0)
    assert [len(step) for step in plan.steps] == [2] * 6
    counts = [Counter(item[k] for step in plan.steps for item in step) for k in (0, 1)]
    assert counts == [dict.fromkeys(range(4), 3), dict.fromkeys(range(3), 4)]
    assert plan.sizes == {"harmful": 4, "retained": 3}


@pytest.mark.parametrize("retained", [0, 2, 8])
def test_mixed_batches_hold_their_share_of_each_kind(retained):
    harmful, others = ([TrainingRow(str(i), (1,), (2,)) for i in range(n)] for n in (5, 3))
    kinds = {"harmful": (harmful, 8 - retained), "retained": (others, retained)}
    plan = mixed(kinds, steps=4, seed=0)
    assert [sum(i >= 5 for (i,) in step) for step in plan.steps] == [retained] * 4
    assert {len(step) for step in plan.steps} == {8}
    assert max(i for step in plan.steps for (i,) in step) < 8


def test_rows_are_read_as_they_were_written(tmp_path):
    TargetRows(ROWS, [2, 1]).save(tmp_path)
    assert TargetRows.load(tmp_path) == TargetRows(ROWS, [2, 1], None)


def lose(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def other_types(path: Path) -> None:
    path.write_text('{"rows": [[1, 2, 3]], "counted": "x"}')


@pytest.mark.parametrize("damage", [lose, cut, other_types], ids=lambda one: one.__name__)
@pytest.mark.parametrize("file", ["rows.json", "00001.safetensors"])
def test_what_is_broken_is_one_message_with_its_remedy(
    base, rows, tmp_path, monkeypatch, file, damage
):
    """A file of targets that is gone left the loss without what it held."""
    monkeypatch.setattr("components.train.batches.PASS_TOKENS", 1)
    rows = [replace(row, completion=(5,)) for row in rows[:3]]
    store_targets(base, rows, [1] * 3, layers=(2,), likeliest=2, folder=tmp_path)
    TargetRows(rows, [1] * 3).save(tmp_path)
    assert len(TargetRows.load(tmp_path).stored) == 9
    damage(tmp_path / file)
    with pytest.raises(TrainingError, match=f"{tmp_path} cannot be read .*delete that folder"):
        TargetRows.load(tmp_path)


@pytest.fixture(scope="module")
def base(random_models):
    return load_model(random_models.folder / "base")


@pytest.fixture(scope="module")
def rows(random_models, random_prompts):
    tokenizer = load_tokenizer(random_models.folder / "base")
    prompts = random_prompts.rows(split=Split.TRAIN, role=Role.HARMFUL)
    return [TrainingRow(p.id, tuple(render_prompt(tokenizer, p.text)), ()) for p in prompts]


def test_stored_targets_are_those_of_one_sequence_at_a_time(base, rows, tmp_path):
    """States at the last inputs; next tokens where the completion is predicted."""
    rows = [replace(row, completion=(5, 6, 7)[: i % 4]) for i, row in enumerate(rows)]
    counted, layers = [row.counted(2) for row in rows], (1, 3)
    stored = store_targets(base, rows, counted, layers=layers, likeliest=4, folder=tmp_path / "s")
    for i, (row, count) in enumerate(zip(rows, counted, strict=True)):
        with torch.no_grad():
            found = base(torch.tensor([row.inputs]), output_hidden_states=True)
        expected = torch.stack([found.hidden_states[k][0, -count:] for k in layers], dim=1)
        torch.testing.assert_close(stored.states([i]), expected, atol=1e-5, rtol=0)
        likely, written = stored.likely([i]), len(row.completion)
        logprobs = found.logits[0, len(row.inputs) - written :].log_softmax(-1)
        torch.testing.assert_close(
            likely.logprobs, logprobs.gather(-1, likely.tokens), atol=1e-4, rtol=0
        )
        torch.testing.assert_close(likely.logprobs, logprobs.topk(4).values, atol=1e-4, rtol=0)
    both = stored.states([2, 0])
    assert both.equal(torch.cat([stored.states([2]), stored.states([0])]))


def test_states_are_left_out_where_no_layer_is_asked_for(base, rows, tmp_path):
    rows = [replace(row, completion=(5,)) for row in rows[:3]]
    stored = store_targets(base, rows, [1] * 3, layers=(), likeliest=2, folder=tmp_path / "s")
    assert stored.states([0, 1]) is None and stored.likely([0, 1]).tokens.shape == (2, 2)


def test_states_are_spread_over_files(base, rows, tmp_path, monkeypatch):
    longest = max(len(row.prompt) for row in rows)
    monkeypatch.setattr("components.train.batches.PASS_TOKENS", 5 * longest)
    folder = tmp_path / "states"
    store_targets(base, rows, [1] * len(rows), layers=(2,), likeliest=2, folder=folder)
    assert len(list(folder.glob("*.safetensors"))) == -(-len(rows) // 5)
