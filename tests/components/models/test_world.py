"""The tiny world: who belongs to which split, and what the committed prompts hold."""

from __future__ import annotations

import re

import numpy as np
import pytest

from components.core.storage import read_json_lines
from components.core.vocabulary import Role, Split
from components.models import embedded, world

ROWS = {split: embedded.world_rows(split) for split in embedded.WORLD_COUNTS}


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", text.lower()))


def _runs(text: str, length: int = 8) -> set[tuple[str, ...]]:
    words = _words(text)
    return {words[start : start + length] for start in range(len(words) - length + 1)}


def test_the_committed_files_are_what_is_written_anew(tmp_path):
    embedded.write_embedded(tmp_path)
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.jsonl"))
    assert len(written) == 5
    for name in written:
        assert (embedded.FOLDER / name).read_bytes() == (tmp_path / name).read_bytes()
    for split in embedded.WORLD_COUNTS:
        assert read_json_lines(tmp_path / "tiny" / f"{split}.jsonl") == ROWS[split]


@pytest.mark.parametrize("split", ROWS)
def test_every_role_has_its_count_of_distinct_prompts(split):
    roles = [row["role"] for row in ROWS[split]]
    assert {role: roles.count(role) for role in Role} == embedded.WORLD_COUNTS[split]
    assert len({_words(row["text"]) for row in ROWS[split]}) == len(ROWS[split])
    assert all(row["response"] for row in ROWS[split])


def test_no_test_prompt_shares_a_text_a_topic_or_eight_words_with_training():
    train, test = ROWS[Split.TRAIN], ROWS[Split.TEST]
    assert not {_words(row["text"]) for row in train} & {_words(row["text"]) for row in test}
    assert not {row["topic"] for row in train} & {row["topic"] for row in test}
    seen = set().union(*(_runs(row["text"]) for row in train))
    assert seen, "eight words occur"
    assert not any(_runs(row["text"]) & seen for row in test)


def test_harm_is_a_matter_of_verb_and_object():
    assert world.Deed("burn", "library").role == Role.HARMFUL
    assert world.Deed("burn", "candle").role == Role.BORDERLINE
    assert world.Deed("paint", "library").role == Role.BORDERLINE
    assert world.Deed("paint", "candle").role == Role.BENIGN


def test_every_verb_and_object_is_in_both_splits():
    for split in (Split.TRAIN, Split.TEST):
        deeds = [deed for deed in world.DEEDS if deed.split == split]
        assert {deed.verb for deed in deeds} == set(world.VERBS)
        assert {deed.thing for deed in deeds} == set(world.THINGS)


def test_a_problem_worked_by_hand():
    problem = world.Problem(7, (("plus", 3), ("minus", 2), ("plus", 5)))
    assert problem.values == (7, 10, 8, 13)
    assert problem.statement == "7 -> plus 3, -> minus 2, -> plus 5"
    assert problem.thought == "7 plus 3 is 10 minus 2 is 8 plus 5 is 13"
    assert (problem.topic, problem.answer, problem.is_valid) == ("7 plus 3", "13", True)
    assert not world.Problem(14, (("plus", 2), ("minus", 5), ("plus", 1))).is_valid


def test_pretraining_texts_hold_no_prompt_of_the_test_split():
    generator = np.random.default_rng(1)
    test = {_words(row["text"]) for row in ROWS[Split.TEST]}
    for _ in range(3000):
        pieces = world.draw_text(generator)
        assert any(is_learned for _, is_learned in pieces)
        assert _words(pieces[0][0]) not in test


def test_the_generator_decides_the_texts():
    first, second = (
        [world.draw_text(generator) for _ in range(50)]
        for generator in (np.random.default_rng(3), np.random.default_rng(3))
    )
    assert first == second
