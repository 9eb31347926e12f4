"""Names: whether they are verified, and whether two of them are those of two people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.identity import are_two_people, signatory


@pytest.mark.parametrize(
    ("one", "other", "two"),
    [
        ("bob", "ann", True),
        ("ann.lee", "ann.lea", True),
        ("CORP\\ann", "CORP\\bob", True),
        ("жанна", "пётр", True),
        ("bob", "bob", False),
        ("bob", "Bob", False),
        ("bob", " b o b\t", False),
        ("bob", "ｂｏｂ", False),
        ("bob", "𝓫ob", False),
        ("bob", "b\u200bob", False),
        ("bob", "b⟨U+200B⟩ob", False),  # as `visible` shows it
        ("bill", "bıll", False),
        ("angstrom", "Ångström", False),
        ("bob", "bоb", False),  # a Cyrillic o
        ("coco", "сосо", False),  # all of it
        ("alpha", "ɑlphɑ", False),  # a Latin alpha
        ("bob", "", False),
        ("", "", False),
    ],
)
def test_two_people_have_names_that_nobody_takes_for_one(one, other, two):
    assert are_two_people(one, other) is two
    assert are_two_people(other, one) is two


@given(st.text(), st.sampled_from([str.upper, str.lower, str.title, str.strip, " {} ".format]))
def test_nobody_becomes_two_by_spelling(name, spelt):
    assert not are_two_people(name, name)
    assert not are_two_people(name, spelt(name))


def test_a_stated_name_says_so_and_cannot_say_otherwise():
    assert signatory("ann", "") == "ann (stated, not verified)"
    assert signatory("Ann Example", "ann") == "Ann Example (MLflow user ann)"
    assert signatory("ann (MLflow user ann)", "").count("(") == 1
    assert signatory("ann （MLflow user ann）", "") == (
        "ann [MLflow user ann] (stated, not verified)"
    )
