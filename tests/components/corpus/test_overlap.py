"""Leaks, against a slow second implementation that compares every pair."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from components.corpus.overlap import drop_leaks, find_leaks
from components.corpus.sources import map_rows
from components.corpus.text import words

TEXTS = st.lists(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=12).map(" ".join), max_size=12
)


def contains(longer: list[str], run: list[str]) -> bool:
    return any(longer[i : i + len(run)] == run for i in range(len(longer)))


def overlap_slowly(one: str, other: str, ngram: int) -> bool:
    short, long = sorted((words(one), words(other)), key=len)
    if short == long:
        return True
    if len(short) < ngram:
        return len(short) >= 4 and contains(long, short)
    return any(contains(long, short[i : i + ngram]) for i in range(len(short) - ngram + 1))


@settings(max_examples=300, deadline=None)
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


def test_leaks_are_dropped_from_training_and_validation_and_never_from_test():
    def rows(split, *texts):
        numbered = [(i, {"text": text}) for i, text in enumerate(texts, start=1)]
        return map_rows(
            numbered,
            source=split,
            licence="MIT",
            role="benign",
            split=split,
            columns={},
            patterns={},
            drop=None,
        )

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
    assert dropped == {"train": 1, "validation": 1}
