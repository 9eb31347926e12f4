"""The everyday prompts: the sums are right, and the splits share no situation and no wording."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from components.core.storage import read_json_lines
from components.core.vocabulary import Split
from components.models.embedded import (
    ARITHMETIC_COUNTS,
    FOLDER,
    SITUATIONS,
    arithmetic_rows,
)

SPLITS = list(ARITHMETIC_COUNTS)
STEP = re.compile(r"^(\d+) ([-+*]) (\d+) = (\d+)\.$")


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def runs(text: str, length: int) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[i : i + length]) for i in range(len(found) - length + 1)}


@pytest.mark.parametrize("split", SPLITS)
def test_every_step_is_right_and_the_last_is_the_answer(split: Split) -> None:
    for row in arithmetic_rows(split):
        before = None
        for line in row["thought"].splitlines():
            first, sign, second, result = STEP.fullmatch(line).groups()
            a, b, c = int(first), int(second), int(result)
            assert {"+": a + b, "-": a - b, "*": a * b}[sign] == c > 0
            assert before in (None, a)
            before = c
        assert row["answer"] == str(before)
        assert row["response"] == f"The answer is {before}."


@pytest.mark.parametrize("split", SPLITS)
def test_every_number_of_the_problem_is_used_in_its_steps(split: Split) -> None:
    for row in arithmetic_rows(split):
        given = Counter(re.findall(r"\d+", row["text"]))
        steps = [STEP.fullmatch(line).groups() for line in row["thought"].splitlines()]
        used = Counter([steps[0][0], *(step[2] for step in steps)])
        assert given == used


@pytest.mark.parametrize("split", [Split.VALIDATION, Split.TEST])
def test_no_situation_or_wording_of_training_is_met_again(split: Split) -> None:
    train, other = arithmetic_rows(Split.TRAIN), arithmetic_rows(split)
    assert not {row["topic"] for row in train} & {row["topic"] for row in other}
    seen = set().union(*(runs(row["text"], 5) for row in train))
    assert not any(runs(row["text"], 5) & seen for row in other)


@pytest.mark.parametrize("split", SPLITS)
def test_texts_are_distinct_and_situations_equally_frequent(split: Split) -> None:
    rows = arithmetic_rows(split)
    assert len({row["text"] for row in rows}) == len(rows) == ARITHMETIC_COUNTS[split]
    topics = Counter(row["topic"] for row in rows)
    assert set(topics) == set(SITUATIONS[split])
    assert max(topics.values()) - min(topics.values()) <= 1


def test_benign_requests_are_distinct_and_of_many_topics() -> None:
    rows = read_json_lines(FOLDER / "everyday" / "benign.jsonl")
    assert len({" ".join(words(row["text"])) for row in rows}) == len(rows) >= 400
    topics = Counter(row["topic"] for row in rows)
    assert len(topics) >= 40 and min(topics.values()) >= 4
    assert {row["role"] for row in rows} == {"benign"}
    assert all(3 <= len(words(row["text"])) <= 30 for row in rows)


def test_look_alikes_are_distinct_and_their_splits_share_no_topic_and_no_wording() -> None:
    files = [
        FOLDER / "everyday" / f"look_alikes_{split}.jsonl" for split in ("train", "validation")
    ]
    train, validation = (read_json_lines(file) for file in files)
    rows = [*train, *validation]
    assert len({" ".join(words(row["text"])) for row in rows}) == len(rows) >= 150
    assert {row["role"] for row in rows} == {"borderline"}
    assert not {row["topic"] for row in train} & {row["topic"] for row in validation}
    seen = set().union(*(runs(row["text"], 6) for row in train))
    again = [row["text"] for row in validation if runs(row["text"], 6) & seen]
    assert not again
