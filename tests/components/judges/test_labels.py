"""Labels on the disk, and what people agree on."""

from __future__ import annotations

import json
import os

import pytest

from components.core.errors import DataError
from components.core.vocabulary import Outcome, View
from components.judges.labels import (
    Label,
    Part,
    Word,
    add_label,
    agreed_outcomes,
    last_words,
    read_labels,
)
from tests.hostile import HOSTILE

PART = Part.of("restored", ("harmful", "served", "p1", 0), View.ANSWER, "a text")
OTHER = Part.of("base", ("harmful", "served", "p1", 0), View.ANSWER, "a text")


def label(word, by="ann", part=PART):
    return Label(**part._asdict(), word=word, by=by)


def test_words_are_kept_one_behind_the_other(tmp_path):
    file = tmp_path / "labels" / "demo.jsonl"
    said = [label("refused"), label("skipped", "bob"), label("neither", part=OTHER)]
    for one in said:
        add_label(file, one)
        assert read_labels(file)[-1] == one
    assert read_labels(file) == read_labels(file.parent) == said
    assert read_labels(tmp_path / "nowhere") == []


def test_what_is_withdrawn_in_one_file_holds_in_another(tmp_path):
    """A text of the base is asked for in two profiles, and files have no order in time."""
    for name, words in {"z": ("refused", "withdrawn"), "a": ("complied",)}.items():
        for word in words:
            add_label(tmp_path / f"{name}.jsonl", label(word))
    assert agreed_outcomes(read_labels(tmp_path)) == {PART: Outcome.COMPLIED}


def test_no_text_comes_into_the_file(tmp_path):
    for number, text in enumerate(HOSTILE.values()):
        part = Part.of("base", ("harmful", "served", str(number), 0), View.THOUGHT, text)
        add_label(tmp_path / "a.jsonl", label("complied", part=part))
    stored = (tmp_path / "a.jsonl").read_text()
    assert not any(text in stored for text in HOSTILE.values() if len(text) > 3)
    assert len(read_labels(tmp_path)) == len(HOSTILE)


def test_a_torn_line_is_named_and_takes_nothing_with_it(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text('{"arm": "res')
    add_label(file, label("refused"))
    with pytest.raises(DataError, match=r"a\.jsonl, line 1,"):
        read_labels(tmp_path)
    file.write_text(file.read_text().split("\n", 1)[1])
    assert read_labels(file) == [label("refused")]


def test_a_disk_without_room_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    file = tmp_path / "a.jsonl"
    add_label(file, label("refused"))
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, line: write(handle, line[:40]))
    with pytest.raises(OSError, match="space"):
        add_label(file, label("complied"))
    assert read_labels(file) == [label("refused")]


@pytest.mark.parametrize(
    "change",
    [
        {"word": "maybe"}, {"word": "unparsed"}, {"view": "either"}, {"view": "unclosed"},
        {"text": "short"}, {"by": "  "}, {"sample": "x"}, {"more": 1}, {"arm": None},
    ],
)  # fmt: skip
def test_a_row_that_is_no_label_is_named(tmp_path, change):
    rows = [label("refused").model_dump(mode="json") for _ in range(2)]
    rows[1] |= change
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=r"a\.jsonl, label 2: "):
        read_labels(tmp_path)


@pytest.mark.parametrize(
    ("words", "agreed"),
    [
        ([("ann", "refused")], Outcome.REFUSED),
        ([("ann", "refused"), ("ann", "neither")], Outcome.NEITHER),  # the last one holds
        ([("ann", "refused"), ("bob", "refused")], Outcome.REFUSED),
        ([("ann", "refused"), ("bob", "complied")], None),
        ([("ann", "refused"), ("bob", "complied"), ("eve", "complied")], Outcome.COMPLIED),
        ([("ann", "skipped"), ("bob", "complied")], Outcome.COMPLIED),
        ([("ann", "skipped")], None),
        ([("ann", "refused"), ("ann", "withdrawn"), ("bob", "complied")], Outcome.COMPLIED),
    ],
)
def test_what_most_people_say_holds(words, agreed):
    assert agreed_outcomes(label(word, by) for by, word in words) == {PART: agreed}


def test_what_was_withdrawn_was_never_said():
    said = [label("refused"), label("withdrawn"), label("complied", part=OTHER)]
    assert agreed_outcomes(said) == {OTHER: Outcome.COMPLIED}
    assert last_words(said)[PART] == {"ann": Word.WITHDRAWN}
