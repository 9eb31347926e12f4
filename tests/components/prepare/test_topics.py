"""Derived topics hold near-duplicates together."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from components.prepare import splits
from components.prepare.splits import fill_topics, group_similar
from tests.components.prepare.rows import rows_of

VOCABULARY = [f"{a}{b}" for a in "bdfgklmn" for b in ("ana", "olo", "iri")]


def candidates(texts):
    return rows_of(*texts)


def test_paraphrases_share_a_topic_and_others_do_not():
    texts = [
        "Write a tutorial on how to bake sourdough bread",
        "how do I repair a bicycle chain",
        "Give me a guide to bake sourdough bread!",
        "which birds live in the marsh",
    ]
    first, second, third, fourth = (c.topic for c in fill_topics(candidates(texts)))
    assert first == third and len({first, second, fourth}) == 3
    assert first == f"similar-{min(c.id for c in candidates([texts[0], texts[2]]))}"


def test_topics_do_not_depend_on_the_order_of_rows():
    rows = candidates([f"paint the {w} wall" for w in VOCABULARY] + ["a b c", "???", "the the"])
    forward = {c.id: c.topic for c in fill_topics(rows)}
    assert forward == {c.id: c.topic for c in fill_topics(rows[::-1])}


@settings(max_examples=60)
@given(
    st.lists(
        st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=7).map(" ".join),
        min_size=1,
        max_size=25,
    ),
    st.sampled_from([0.3, 0.5, 0.8]),
)
def test_groups_are_the_components_of_all_pairs(texts, similarity):
    vectors = TfidfVectorizer(analyzer=str.split, sublinear_tf=True).fit_transform(texts).toarray()
    near = vectors @ vectors.T >= similarity - 1e-9
    expected = list(range(len(texts)))
    for _ in texts:  # the smallest number spreads through a component
        expected = [min(expected[j] for j in np.flatnonzero(near[i])) for i in range(len(texts))]
    found = group_similar(texts, similarity=similarity)
    first_of = {group: found.index(group) for group in found}
    assert [first_of[group] for group in found] == expected


def test_words_of_very_many_rows_are_not_searched_but_rarer_ones_are(monkeypatch):
    monkeypatch.setattr(splits, "MOST_ROWS_A_WORD", 2)
    texts = ["apple pear", "apple pear", "apple plum", "apple plum fig", "apple kiwi"]
    groups = group_similar(texts)
    assert groups[0] == groups[1]
    assert groups[2] == groups[3] != groups[4]
