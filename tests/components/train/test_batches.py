from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from components.lm.batches import by_tokens, pad_right
from components.train.baseline import mixed_order
from components.train.batches import CompletionCollator, Item, Side, draw_order, plan_steps
from components.train.rows import Row


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


def test_positions_of_the_baseline_predict_the_completion():
    rows = [Row("a", (1, 2, 3), (4, 5)), Row("b", (6, 7), (8,))]
    (items,) = plan_steps([[(0,), (1,)]], [Side(rows, [2, 1])])
    batch = CompletionCollator(rows)(items)
    assert batch["ids"].tolist() == [[1, 2, 3, 4], [6, 7, 0, 0]]
    # Position 2 holds token 3 and predicts 4, position 3 holds 4 and predicts 5.
    assert batch["mask"].tolist() == [[False, False, True, True], [False, True, False, False]]
    assert batch["completions"].tolist() == [4, 5, 8]
    assert batch["positions"] == 3


def test_every_item_knows_the_positions_of_its_whole_step():
    rows = [Row("a", (1, 2, 3), (4, 5)), Row("b", (6, 7), (8,))]
    sides = [Side(rows, [3, 1]), Side(rows, [4, 2])]
    # Inputs leave out the last token: four of a, two of b.
    assert plan_steps([[(0, 1), (1, 1)], [(0, 0)]], sides) == [
        [Item((0, 1), (4, 4), 6), Item((1, 1), (4, 4), 4)],
        [Item((0, 0), (3, 4), 8)],
    ]


@pytest.mark.parametrize(("share", "kept"), [(0, 0), (0.25, 2), (1, 8)])
def test_baseline_batches_hold_their_share_of_retained_rows(share, kept):
    harmful, retain = ([Row(str(i), (1,), (2,)) for i in range(n)] for n in (5, 3))
    order = mixed_order(
        harmful, retain, steps=4, batch=8, retain_share=share, generator=np.random.default_rng(0)
    )
    assert [sum(i >= 5 for i in batch) for batch in order] == [kept] * 4
    assert {len(batch) for batch in order} == {8}
    assert max(i for batch in order for i in batch) < 8
