"""The history as a stack of champions."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.errors import RegistryError
from components.registry.history import (
    PREFIX,
    PROMOTED,
    ROLLED_BACK,
    Change,
    champions,
    decode,
    earlier_champions,
    encode,
    new_change,
    next_number,
)

VERSIONS = st.sampled_from(["1", "2", "3", "10"])
EVENTS = st.lists(st.tuples(st.sampled_from([PROMOTED, ROLLED_BACK]), VERSIONS), max_size=30)


def changes(*events: tuple[str, str]) -> list[Change]:
    return [Change(event, version, None, "ann", "why", "") for event, version in events]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], []),
        ([("promoted", "1"), ("promoted", "2")], ["1", "2"]),
        ([("promoted", "1"), ("promoted", "2"), ("promoted", "2")], ["1", "2"]),
        ([("promoted", "1"), ("promoted", "2"), ("rolled back", "1")], ["1"]),
        ([("promoted", "1"), ("promoted", "2"), ("promoted", "3"), ("rolled back", "1")], ["1"]),
        (
            [("promoted", "1"), ("promoted", "2"), ("promoted", "1"), ("rolled back", "2")],
            ["1", "2"],
        ),
        ([("promoted", "1"), ("promoted", "2"), ("rolled back", "7")], ["7"]),
    ],
)
def test_replay(events, expected):
    assert champions(changes(*events)) == expected


@pytest.mark.parametrize(
    ("stack", "champion", "expected"),
    [
        (["1", "2"], "2", ["1"]),
        (["1", "2", "2"], "2", ["1"]),
        (["1", "2", "3"], "2", ["1"]),  # the promotion of 3 was cut off
        (["1"], "2", ["1"]),  # a rollback from 2 was cut off
        (["1", "2"], "7", ["2", "1"]),  # the alias was moved by hand
        (["1", "2"], None, ["2", "1"]),
        (["1", "2", "1"], "1", ["2"]),
        (["1"], "1", []),
        (["1", "9", "2"], "2", ["1"]),  # 9 was deleted
    ],
)
def test_where_a_rollback_can_go(stack, champion, expected):
    entries = changes(*((PROMOTED, version) for version in stack))
    assert earlier_champions(entries, champion, ["1", "2", "3", "7"]) == expected


@given(EVENTS)
def test_of_any_history_no_version_lies_upon_itself_and_the_last_is_on_top(events):
    stack = champions(changes(*events))
    assert all(below != above for below, above in pairwise(stack))
    assert stack[-1:] == [version for _, version in events][-1:]


@given(EVENTS, st.none() | VERSIONS, st.sets(VERSIONS))
def test_from_any_history_a_rollback_goes_elsewhere_until_nothing_is_left(events, champion, there):
    """Two calls at once, a killed one, a hand on the alias: whatever made the history."""
    entries = changes(*events)
    for _ in range(len(events) + 2):
        earlier = earlier_champions(entries, champion, there)
        if not earlier:
            return
        assert earlier[0] in there and earlier[0] != champion
        assert earlier[0] in {entry.version for entry in entries}
        champion = earlier[0]
        entries += changes((ROLLED_BACK, champion))
        assert champions(entries)[-1] == champion
    raise AssertionError("rollbacks do not end")


@given(EVENTS, st.randoms())
def test_entries_come_back_in_order_from_tags_in_any_order(events, random):
    entries = [new_change(event, version, None, by="ann", why="x") for event, version in events]
    tags = [encode(entry, number) for number, entry in enumerate(entries, 1)]
    random.shuffle(tags)
    assert decode({**dict(tags), "other": "tag"}) == entries
    assert next_number({**dict(tags), "other": "tag"}) == len(entries) + 1


def test_entries_of_earlier_releases_come_first():
    old, new = changes((PROMOTED, "1"), (PROMOTED, "2")), changes((PROMOTED, "3"))
    tags = {
        f"{PREFIX}20260101T00000{i}.000000Z.abcdef": json.dumps(asdict(entry))
        for i, entry in enumerate(old)
    }
    assert next_number(tags) == 1
    assert decode(dict([encode(new[0], 1)]) | tags) == old + new


def test_more_than_a_million_entries_keep_their_order():
    entries = changes((PROMOTED, "1"), (PROMOTED, "2"))
    tags = dict([encode(entries[1], 1_000_000), encode(entries[0], 999_999)])
    assert decode(tags) == entries and next_number(tags) == 1_000_001


@pytest.mark.parametrize("text", ["x" * 1001, "\x1b" * 200])
def test_a_reason_that_no_database_would_keep_is_refused(text):
    with pytest.raises(RegistryError, match=r"--why has 1\d* characters"):
        new_change(PROMOTED, "1", None, by="ann", why=text)
    longest = new_change(PROMOTED, "1", None, by='"' * 200, why='"' * 1000)
    assert len(encode(longest, 1)[1]) < 5000


def test_a_damaged_entry_is_named():
    with pytest.raises(RegistryError, match=f"{PREFIX}x"):
        decode({f"{PREFIX}x": "{}"})
