"""Near-copies against a slow second implementation, and what becomes of them on the way."""

from __future__ import annotations

import tracemalloc
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.vocabulary import Prompt, Role, Split
from components.prepare.near_copies import cluster_figures, near_copies, with_clusters

REQUEST = "describe the harmful thing number seven in great detail"


def slow_clusters(texts):
    """Every pair by the definition, and what is linked by following links one by one."""

    def runs(text):
        words = [word.strip(".,!?;:").casefold() for word in text.split()]
        return {" ".join(words[i : i + 3]) for i in range(max(len(words) - 2, 1))}

    found = [runs(text) for text in texts]
    cluster = list(range(len(texts)))
    for i, j in combinations(range(len(texts)), 2):
        if 2 * len(found[i] & found[j]) >= len(found[i] | found[j]):
            old, new = cluster[j], cluster[i]
            cluster = [new if one == old else one for one in cluster]
    return cluster


def partition(labels):
    groups = {}
    for place, label in enumerate(labels):
        groups.setdefault(label, []).append(place)
    return sorted(groups.values())


words = st.lists(st.sampled_from("abcde"), min_size=1, max_size=9).map(" ".join)


@given(st.lists(words, min_size=1, max_size=12))
def test_the_clusters_are_those_of_the_definition(texts):
    assert partition(near_copies(texts)) == partition(slow_clusters(texts))


def test_more_texts_than_are_compared_at_once(monkeypatch: pytest.MonkeyPatch):
    texts = [f"{word} a short text of its own {i % 9}" for i in range(40) for word in "xy"]
    whole = near_copies(texts)
    monkeypatch.setattr("components.prepare.near_copies._BLOCK", 7)
    assert near_copies(texts) == whole
    assert partition(whole) == partition(slow_clusters(texts))


@pytest.mark.slow  # many rows
def test_many_problems_of_one_template_need_no_memory_of_all_their_pairs():
    texts = [f"add the numbers {i} and seven and then tell what they make" for i in range(1500)]
    tracemalloc.start()
    assert set(near_copies(texts)) == {0}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60 * 2**20  # with all pairs at once it was 170


def test_case_accents_and_punctuation_set_no_copies_apart():
    texts = [REQUEST, REQUEST.upper() + "!", "Please, " + REQUEST.replace("e", "\u00e9"), "else"]
    assert partition(near_copies(texts)) == [[0, 1, 2], [3]]
    assert near_copies([]) == []


def prompt(name, text, role=Role.HARMFUL, split=Split.TEST, source="own", topic="t"):
    return Prompt(name, text, role, topic, source, "MIT", split)


def test_clusters_stay_within_their_split_and_suite():
    texts = [REQUEST, f"Please {REQUEST}"]
    rows = [
        *(prompt(f"h{i}", text) for i, text in enumerate(texts)),
        *(prompt(f"s{i}", text, source="suite") for i, text in enumerate(texts)),
        prompt("b", REQUEST, Role.BENIGN),
        prompt("v", REQUEST, split=Split.VALIDATION),
        *(prompt(f"t{i}", text, split=Split.TRAIN) for i, text in enumerate(texts)),
        prompt("x", "an odd thing altogether"),
    ]
    found = {row.id: row.cluster for row in with_clusters(rows, {"suite"}, {})}
    expected = {"h0": "h0", "h1": "h0", "s0": "s0", "s1": "s0"}
    assert found == {**dict.fromkeys(row.id for row in rows), **expected}
    figures = cluster_figures(with_clusters(rows, {"suite"}, {}), {"suite"})
    told = [(figure.suite, figure.prompts, figure.clusters, figure.largest) for figure in figures]
    assert told == [("harmful", 3, 2, 2), ("suite", 2, 1, 2)]


def test_whole_topics_count_as_one_where_a_source_says_so():
    rows = [
        prompt("a", "one short thing here", topic="x", source="by-topic"),
        prompt("b", "quite another matter altogether", topic="x", source="by-topic"),
        prompt("c", "a third one that differs", topic="x", source="own"),
        prompt("d", "the fourth is of its own", topic="y", source="by-topic"),
        prompt("e", "one short thing here please", topic="z", source="own"),
    ]
    found = with_clusters(rows, (), {"by-topic": "topics", "own": "near-copies"})
    assert [row.cluster for row in found] == ["a", "a", None, None, "a"]
