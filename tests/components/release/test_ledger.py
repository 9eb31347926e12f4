"""The ledger as a stack of champions."""

from __future__ import annotations

import pytest

from components.errors import RegistryError
from components.release.ledger import PREFIX, Entry, champions, decode, encode, new_entry


def moves(*events: tuple[str, str]) -> list[Entry]:
    return [Entry(event, version, None, "ann", "why", "") for event, version in events]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], []),
        ([("promoted", "1"), ("promoted", "2")], ["1", "2"]),
        ([("promoted", "1"), ("promoted", "2"), ("rolled back", "1")], ["1"]),
        ([("promoted", "1"), ("promoted", "2"), ("promoted", "3"), ("rolled back", "1")], ["1"]),
        (
            [("promoted", "1"), ("promoted", "2"), ("promoted", "1"), ("rolled back", "2")],
            ["1", "2"],
        ),
    ],
)
def test_replay(events, expected):
    assert champions(moves(*events)) == expected


def test_entries_come_back_in_order_from_tags():
    entries = [new_entry("promoted", str(i), None, by="ann", why="x") for i in range(20)]
    tags = dict(encode(entry) for entry in reversed(entries))
    assert decode({**tags, "other": "tag"}) == entries


def test_a_damaged_entry_is_named():
    with pytest.raises(RegistryError, match=f"{PREFIX}x"):
        decode({f"{PREFIX}x": "{}"})


def test_an_entry_is_one_line_whoever_typed_it():
    entry = new_entry("promoted", "1", None, by=" ann\n", why="good\nsafereact: done\r\n\tso")
    assert (entry.by, entry.why) == ("ann", "good safereact: done so")
