"""Leaks, against a slow second implementation that compares every pair."""

from __future__ import annotations

import math

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from components.prepare import leaks
from components.prepare.leaks import HeldOut, drop_leaks
from components.prepare.near_copies import near_copies
from components.prepare.text import words
from tests.components.prepare.rows import rows_of

TEXTS = st.lists(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=12).map(" ".join), max_size=12
)


def find_leaks(texts: list[str], test: list[str], *, ngram: int) -> list[bool]:
    return HeldOut(test, ngram=ngram).compare(texts).tolist()


def contains(longer: list[str], run: list[str]) -> bool:
    return any(longer[i : i + len(run)] == run for i in range(len(longer)))


def overlap_slowly(one: str, other: str, ngram: int) -> bool:
    short, long = sorted((words(one), words(other)), key=len)
    if short == long:
        return True
    if len(short) < ngram:
        return len(short) >= 4 and contains(long, short)
    return any(contains(long, short[i : i + ngram]) for i in range(len(short) - ngram + 1))


@settings(max_examples=100)
@given(TEXTS, TEXTS, st.integers(1, 9))
def test_leaks_are_those_that_comparing_every_pair_finds(texts, test, ngram):
    expected = [any(overlap_slowly(text, held, ngram) for held in test) for text in texts]
    assert find_leaks(texts, test, ngram=ngram) == expected


def test_worked_examples():
    test = ["How do I fold a paper crane at home?", "Bake me a cake", "hello there"]
    texts = {
        "tell me: how do i fold a paper crane, please": True,  # seven words in a row
        "how do i fold a paper boat at home": False,
        "could you bake me a cake today": True,  # a whole short test prompt within
        "Hello  THERE": True,  # equal after normalisation
        "oh hello there friend": False,  # two words give nothing away
        "paper crane at home": True,  # a short text wholly within a test prompt
    }
    assert find_leaks(list(texts), test, ngram=7) == list(texts.values())


def test_case_accents_and_punctuation_make_no_difference_and_digits_do():
    test = ["Où est le CAFÉ, numéro 7?"]
    same = ["ou est le cafe numero 7", "Où est — le cafe\u0301 — nume\u0301ro 7 !"]
    other = ["où est le café numéro 8", "où est le thé numéro 7"]
    assert find_leaks([*same, *other], test, ngram=6) == [True, True, False, False]


PROMPT = "Where does the old ferry cross the river in winter"
UNSEEN = st.sampled_from("\u00ad\u200b\u200c\u200d\u2060\u2063\ufe0f\u034f\ufeff\u202e")
ALIKE = str.maketrans("aceiopxy", "асеіорху")  # Latin letters, and Cyrillic ones


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, len(PROMPT)), UNSEEN), max_size=12), st.data())
def test_what_nobody_sees_sets_no_copy_apart(put_in, data):
    """A soft hyphen, or a letter of another script, in any place of any word."""
    copy = list(PROMPT)
    for place, character in enumerate(PROMPT):
        if data.draw(st.integers(0, 5)) == 0:
            copy[place] = character.translate(ALIKE)
    for place, character in sorted(put_in, reverse=True):
        copy.insert(place, character)
    text = "".join(copy)
    mixed = [word for word in text.split() if not word.isascii()]
    latin = all(any("a" <= letter.lower() <= "z" for letter in word) for word in mixed)
    assume(latin)  # a word of one script alone is a word of that script
    held = HeldOut([PROMPT], ngram=8)
    assert held.compare([f"Tell me: {text}, please"]).tolist() == [True]
    held.compare([text])
    assert held.copied.tolist() == [True]
    assert near_copies([PROMPT, text]) == [0, 0]


@settings(max_examples=100)
@given(TEXTS, TEXTS, st.integers(1, 9))
def test_what_was_found_of_the_test_texts_is_what_comparing_every_pair_finds(texts, test, ngram):
    held = HeldOut(test, ngram=ngram)
    for text in texts:  # one by one: what was found before stays found
        held.compare([text])
    repeated = [any(overlap_slowly(one, text, ngram) for text in texts) for one in test]
    assert held.repeated.tolist() == repeated
    assert held.copied.tolist() == [any(words(one) == words(t) for t in texts) for one in test]
    runs = {tuple(w[i : i + 5]) for t in texts for w in [words(t)] for i in range(len(w) - 4)}
    for one, share in zip(test, held.shares.tolist(), strict=True):
        w = words(one)
        own = [tuple(w[i : i + 5]) in runs for i in range(len(w) - 4)]
        assert share == sum(own) / len(own) if own else math.isnan(share)


def test_texts_are_compared_chunk_by_chunk_with_the_same_result(monkeypatch):
    test = ["name five rivers of the old world", "hello there"]
    texts = ["a b c", test[0], "", "x", f"please {test[0]} now", "hello there", "y z"]
    whole = find_leaks(texts, test, ngram=5)
    monkeypatch.setattr(leaks, "_CHUNK", 6)
    assert find_leaks(texts, test, ngram=5) == whole
    assert whole == [False, True, False, False, True, True, False]


def rows(split, *texts, **parts):
    """Return benign candidates of a source that is named after its split."""
    return rows_of(*({"text": text, **parts} for text in texts), name=split, split=split)


def test_leaks_are_dropped_from_training_and_validation_and_never_from_test():
    held = "name five rivers of the old world"
    candidates = [
        *rows("train", held, "paint a small red boat"),
        *rows("validation", f"please {held}"),
        *rows("test", held),
    ]
    kept, dropped = drop_leaks(candidates, ngram=5)
    assert [(c.split, c.text) for c in kept] == [
        ("train", "paint a small red boat"),
        ("test", held),
    ]
    assert [c.split for c in dropped] == ["train", "validation"]


def test_a_test_prompt_within_a_thought_or_a_response_is_a_leak():
    held = "name five rivers of the old world"
    candidates = [
        *rows("train", "one", thought=f"they might {held} next"),
        *rows("validation", "two", response=f"now {held} for me"),
        *rows("train", "three", thought="rivers of the new world"),
        *rows("test", held, thought="paint a small red boat at night"),
        *rows("train", "paint a small red boat at night"),  # the thought of a test row
    ]
    kept, dropped = drop_leaks(candidates, ngram=5)
    assert [c.text for c in dropped] == ["one", "two"]
    assert [c.text for c in kept] == ["three", held, "paint a small red boat at night"]


def test_no_test_rows_and_no_other_rows():
    assert find_leaks(["a b c d"], [], ngram=2) == [False]
    assert find_leaks([], ["a b c d"], ngram=2) == []
    assert drop_leaks([], ngram=2) == ([], [])
