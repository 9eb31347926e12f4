"""The history as a hash chain, a stack of champions and the refusals that stand."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.errors import EvidenceError, RegistryError
from components.registry.changes import (
    PREFIX,
    PROMOTED,
    REJECTED,
    ROLLED_BACK,
    WITHDRAWN,
    Change,
    chain_in,
    chain_of,
    champion_of,
    champions,
    earlier_champions,
    encode,
    new_change,
    refusal_of,
    withdrawal_of,
    write_chain,
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


# --- the chain -------------------------------------------------------------------------------


def written(*changes: Change, before: dict[str, str] | None = None) -> dict[str, str]:
    """Return the tags after `changes` were written behind those in `before`, one after another."""
    tags = dict(before or {})
    for change in changes:
        key, text = encode(chain_of(tags).extended(change))
        tags[key] = text
    return tags


def four() -> dict[str, str]:
    return written(*changes(*((PROMOTED, version) for version in "1234")))


def key(number: int) -> str:
    return f"{PREFIX}{number:06d}"


def test_digests_are_those_that_the_page_describes():
    """Worked out again: SHA-256 over the domain and JSON with sorted keys and no blanks."""
    tags, domain = written(*changes((PROMOTED, "1"), (WITHDRAWN, "1"))), b"safereact.history.v1\0"
    expected = [hashlib.sha256(domain).hexdigest()]
    for name in sorted(tags):
        stored = json.loads(tags[name])
        assert stored["follows"] == expected[-1]
        fields = ",".join(
            f"{json.dumps(k)}:{json.dumps(stored[k])}"
            for k in ("adapter", "by", "despite", "event", "follows", "previous", "user", "version")
        )
        fields += f',"when":{json.dumps(stored["when"])},"why":{json.dumps(stored["why"])}'
        whole = f'{{"change":{{{fields}}},"follows":"{expected[-1]}","key":"{name}"}}'
        expected.append(hashlib.sha256(domain + whole.encode()).hexdigest())
    assert list(chain_of(tags).digests) == expected and chain_of(tags).head == expected[-1]


@given(EVENTS, st.randoms())
def test_changes_come_back_in_order_from_tags_in_any_order(events, random):
    entries = [new_change(event, version, None, by="ann", why="x") for event, version in events]
    tags = list(written(*entries).items())
    random.shuffle(tags)
    chain = chain_of({**dict(tags), "other": "tag"})
    assert [replace(one, number=0, follows="") for one in chain.changes] == entries
    assert [one.number for one in chain.changes] == list(range(1, len(entries) + 1))
    assert len(set(chain.digests)) == len(entries) + 1


def rewritten(tags: dict[str, str], number: int, /, **fields) -> dict[str, str]:
    return {**tags, key(number): json.dumps(json.loads(tags[key(number)]) | fields)}


def broken(how: str) -> dict[str, str]:
    tags = four()
    if how == "rewritten":
        return rewritten(tags, 2, by="mallory")
    if how == "removed":
        return {name: text for name, text in tags.items() if name != key(2)}
    if how == "removed and renumbered":
        return {key(1): tags[key(1)], key(2): tags[key(3)], key(3): tags[key(4)]}
    if how == "reordered":
        return {**tags, key(2): tags[key(3)], key(3): tags[key(2)]}
    if how == "inserted":
        (between,) = changes((PROMOTED, "9"))
        first = {key(1): tags[key(1)]}
        return {**written(between, before=first), key(3): tags[key(2)], key(4): tags[key(3)]}
    if how == "put before":
        (first,) = changes((PROMOTED, "9"))
        return {key(0): dict([encode(first)])[key(0)], **tags}
    if how == "without a link":
        return rewritten(tags, 3, follows="")
    return rewritten(tags, 1, follows="0" * 64)


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("rewritten", f"{key(3)} was not written after what lies before it"),
        ("removed", "change 2 is missing"),
        ("removed and renumbered", f"{key(2)} was not written after what lies before it"),
        ("reordered", f"{key(2)} was not written after what lies before it"),
        ("inserted", f"{key(3)} was written after change 1: what lies between was put there"),
        ("put before", "change 1 is missing"),
        ("without a link", f"{key(3)} does not state what it follows"),
        ("another beginning", f"{key(1)} was not written after what lies before it"),
    ],
)
def test_the_first_broken_link_is_named(how, named):
    with pytest.raises(RegistryError, match=re.escape(f"broken: {named}")):
        chain_of(broken(how))


@given(st.data())
def test_whatever_is_done_to_a_chain_but_cutting_its_end_breaks_it(data):
    tags = four()
    numbers = data.draw(st.permutations(range(1, 5)))
    kept = numbers[: data.draw(st.integers(1, 4))]
    moved = {key(place): tags[key(number)] for place, number in enumerate(kept, 1)}
    if list(kept) == list(range(1, len(kept) + 1)):
        assert chain_of(moved).digests == chain_of(tags).digests[: len(kept) + 1]
    else:
        with pytest.raises(RegistryError, match="broken"):
            chain_of(moved)


def test_a_tag_without_a_number_is_no_change():
    tags = {f"{PREFIX}20260101T0Z.a": four()[key(1)]}
    with pytest.raises(RegistryError, match="its name has no number"):
        chain_of(tags)


def test_a_history_beside_a_version_is_the_one_of_the_registry(tmp_path):
    tags = four()
    write_chain("demo", {**tags, "other": "tag"}, tmp_path)
    assert chain_in(tmp_path) == ("demo", chain_of(tags))
    assert chain_in(tmp_path / "elsewhere") is None
    for text in ("[]", "{}", '{"changes": [], "model": "demo"}', "null"):
        (tmp_path / "history.json").write_text(text)
        with pytest.raises(EvidenceError, match="holds no history"):
            chain_in(tmp_path)


@pytest.mark.parametrize("text", ["x" * 1001, "\x1b" * 200])
def test_a_reason_that_no_database_would_keep_is_refused(text):
    with pytest.raises(RegistryError, match=r"--why has 1\d* characters"):
        new_change(PROMOTED, "1", None, by="ann", why=text)
    longest = new_change(
        PROMOTED, "1", None, by='"' * 200, why='"' * 1000, adapter="a" * 64, despite="1" * 9
    )
    assert len(encode(replace(longest, follows="b" * 64))[1]) < 5000


@pytest.mark.parametrize(
    "fields",
    [
        {"event": "forgiven"},
        {"despite": "x"},
        {"by": 3},
        {"version": None},
        {"number": 7},
        {"a": 1},
    ],
)
def test_a_damaged_change_is_named(fields):
    with pytest.raises(RegistryError, match=f"tag {key(1)} .* damaged"):
        chain_of(rewritten(four(), 1, **fields))
    with pytest.raises(RegistryError, match=f"{PREFIX}x .* damaged"):
        chain_of({f"{PREFIX}x": "{}"})


# --- what people turned down -----------------------------------------------------------------


def decided(*events: tuple[str, str, str, str]) -> tuple[Change, ...]:
    """Return changes of (event, version, adapter, despite), as they come back from tags."""
    made = [
        Change(event, version, None, "ann", "why", "", adapter=adapter, despite=despite)
        for event, version, adapter, despite in events
    ]
    return chain_of(written(*made)).changes


def test_a_withdrawn_champion_leaves_none_until_somebody_makes_one():
    history = decided((PROMOTED, "1", "a", ""), (PROMOTED, "2", "b", ""), (WITHDRAWN, "2", "b", ""))
    assert champion_of(history) is None and withdrawal_of(history) == history[-1]
    assert champions(history) == ["1", "2"]
    assert earlier_champions(history, None, ["1", "2"]) == ["2", "1"]
    history = (*history, *decided((ROLLED_BACK, "1", "a", "")))
    assert champion_of(history) == "1" and withdrawal_of(history) is None


@pytest.mark.parametrize(
    ("event", "version", "adapter", "left"),
    [
        (WITHDRAWN, "1", "a", "2"),  # another one
        (WITHDRAWN, "3", "b", None),  # the same adapter under another number
        (WITHDRAWN, "3", "", "2"),
        (REJECTED, "3", "b", "2"),
    ],
)
def test_whom_a_withdrawal_concerns(event, version, adapter, left):
    assert champion_of(decided((PROMOTED, "2", "b", ""), (event, version, adapter, ""))) == left


def test_a_refusal_stands_until_a_promotion_names_it():
    history = decided(
        (REJECTED, "1", "a", ""),
        (WITHDRAWN, "1", "a", ""),
        (WITHDRAWN, "2", "b", ""),
        (PROMOTED, "1", "a", "2"),
        (WITHDRAWN, "1", "a", ""),
    )
    assert refusal_of(history[:1], "1", "a").number == 1
    assert refusal_of(history[:1], "9", "a") is None, "a rejection is about one version"
    assert refusal_of(history[:2], "9", "a").number == 2, "a withdrawal is about the adapter"
    assert refusal_of(history[:4], "1", "a") is None, "the rejection before it is lifted, too"
    assert refusal_of(history[:4], "2", "b").number == 3
    assert refusal_of(history, "1", "a").number == 5


def test_changes_of_a_release_that_asked_nobody_who_it_was_are_read_and_go_on():
    """They are stored without `user`, and their digests are over what is stored."""
    tags: dict[str, str] = {}
    for user in ("", "", "ann"):
        change = new_change(PROMOTED, str(len(tags) + 1), None, by="ann", why="why", user=user)
        name, value = encode(chain_of(tags).extended(change))
        stored = json.loads(value)
        tags[name] = value if user else json.dumps({k: stored[k] for k in stored if k != "user"})
    assert [change.user for change in chain_of(tags).changes] == ["", "", "ann"]
    assert [("not verified" in change.who) for change in chain_of(tags).changes] == [1, 1, 0]
    tags[key(3)] = tags[key(3)].replace('"user": "ann"', '"user": "eve"')
    name, value = encode(chain_of(tags).extended(change))
    tags[name] = value
    tags[key(3)] = tags[key(3)].replace('"user": "eve"', '"user": "ann"')
    with pytest.raises(RegistryError, match=f"{PREFIX}000004 was not written after"):
        chain_of(tags)
