"""Normal form, words, ids and unreadable characters."""

from __future__ import annotations

import hashlib

import pytest

from components.core.storage import replace_surrogates
from components.prepare.settings import LICENCES, canonical_licence
from components.prepare.text import (
    normalise,
    prompt_id,
    unreadable_characters,
    words,
)


def test_normal_form_folds_case_width_and_white_space():
    assert normalise("  Ｈow\tDO\n\nI  straße ") == "how do i strasse"


def test_words_split_at_punctuation_and_take_han_and_kana_one_by_one():
    assert words("Don't stop: go!") == ["don", "t", "stop", "go"]
    assert words("东京 is big") == ["东", "京", "is", "big"]
    assert words("?!") == ["?!"]
    assert words("") == [""]


def test_id_is_the_digest_of_role_and_normal_form():
    expected = hashlib.sha256(b"benign\nbake a cake").hexdigest()[:16]
    assert prompt_id("benign", " Bake  a CAKE") == expected
    assert prompt_id("harmful", "bake a cake") != expected


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("tab\tand\nline", 0),
        ("bell\x07\x00", 2),
        ("lost\ufffd", 1),
        ("\u202eturned", 1),
        ("é 东 🙂", 0),
    ],
)
def test_unreadable_characters(text: str, count: int):
    assert unreadable_characters(text) == count


def test_lone_surrogates_become_unreadable_and_can_be_written():
    assert replace_surrogates("a\ud800b").encode() == "a\ufffdb".encode()


def test_licences_are_spelled_as_spdx_does_and_own_ones_are_references():
    import re

    assert canonical_licence(" apache-2.0 ") == "Apache-2.0"
    for name in ("MIT", "CC-BY-4.0", "LicenseRef-internal"):
        assert re.match(LICENCES, name)
    for name in ("", "unknown", "MIT or so", "LicenseRef-"):
        assert not re.match(LICENCES, canonical_licence(name))
