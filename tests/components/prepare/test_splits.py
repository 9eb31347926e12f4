"""Topics never straddle, every role gets its share, the seed decides the rest."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.vocabulary import Split
from components.prepare.splits import split_by_topic

SHARES = {Split.TRAIN: 0.55, Split.VALIDATION: 0.15, Split.TEST: 0.3}
ROWS = st.lists(st.tuples(st.integers(0, 15), st.sampled_from(["harmful", "benign"])), max_size=120)


@given(ROWS, st.integers(0, 5))
def test_a_topic_lies_in_one_split_and_the_seed_decides(rows, seed):
    topics, roles = [f"t{topic}" for topic, _ in rows], [role for _, role in rows]
    splits = split_by_topic(topics, roles, shares=SHARES, seed=seed)
    places = defaultdict(set)
    for topic, split in zip(topics, splits, strict=True):
        places[topic].add(split)
    assert all(len(found) == 1 for found in places.values())
    assert splits == split_by_topic(topics, roles, shares=SHARES, seed=seed)


@given(ROWS, st.integers(0, 5))
def test_shares_are_met_within_the_largest_topic(rows, seed):
    topics = [f"{role}-{topic}" for topic, role in rows]
    roles = [role for _, role in rows]
    splits = split_by_topic(topics, roles, shares=SHARES, seed=seed)
    found = Counter(zip(roles, splits, strict=True))
    for role, total in Counter(roles).items():
        largest = max(n for t, n in Counter(topics).items() if t.startswith(role))
        for split, share in SHARES.items():
            # Never over by more than one topic, hence never short by more than two.
            assert -2 * largest <= found[role, split] - share * total <= largest


def test_single_row_topics_meet_the_shares_of_each_role_exactly():
    roles = ["harmful"] * 200 + ["benign"] * 40
    splits = split_by_topic([str(i) for i in range(240)], roles, shares=SHARES, seed=3)
    found = Counter(zip(roles, splits, strict=True))
    assert [found["harmful", split] for split in Split] == [110, 30, 60]
    assert [found["benign", split] for split in Split] == [22, 6, 12]


def test_another_seed_moves_topics():
    topics, roles = [str(i) for i in range(60)], ["benign"] * 60
    assert split_by_topic(topics, roles, shares=SHARES, seed=0) != split_by_topic(
        topics, roles, shares=SHARES, seed=1
    )


@pytest.mark.parametrize("roles", [["a"] * 9, ["a", "b", "b"] * 3])
def test_a_split_of_share_zero_stays_empty(roles):
    shares = {Split.TRAIN: 0.8, Split.VALIDATION: 0.2, Split.TEST: 0.0}
    splits = split_by_topic([str(i % 4) for i in range(9)], roles, shares=shares, seed=0)
    assert Split.TEST not in splits
