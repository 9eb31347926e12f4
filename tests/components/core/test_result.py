"""Results are found again as they were saved, a broken one is named, and so is what differs."""

from __future__ import annotations

from typing import ClassVar

import pytest

from components.core.errors import EvidenceError, StageError
from components.core.result import RateFigure, Record, Result, mismatches
from components.core.storage import digest_file
from components.core.vocabulary import Role


class Count(Result):
    """A made-up result."""

    FILE: ClassVar[str] = "count.json"

    rows: int


def test_a_result_comes_back_with_its_folder(tmp_path):
    saved = Count(rows=3).save(tmp_path)
    again = Count.load(tmp_path)
    assert again == saved
    assert again.folder == saved.folder == tmp_path
    assert Count.digest_of(tmp_path) == digest_file(tmp_path / "count.json")


def test_a_missing_or_foreign_file_is_named(tmp_path):
    with pytest.raises(StageError, match=r"count\.json is missing"):
        Count.load(tmp_path)
    with pytest.raises(StageError, match="is missing"):
        Count.digest_of(tmp_path)
    (tmp_path / "count.json").write_text('{"prompts": 3}')
    with pytest.raises(StageError, match=r"count\.json is not a Count"):
        Count.load(tmp_path)


class Share(Result):
    """A made-up result with a figure."""

    FILE: ClassVar[str] = "share.json"

    rate: float


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_what_is_no_number_is_not_read(tmp_path, value):
    """It fails every comparison, so nothing is found wrong with it."""
    (tmp_path / "share.json").write_text(f'{{"rate": {value}}}')
    with pytest.raises(StageError, match=r"(?s)share\.json is not a Share.*finite number"):
        Share.load(tmp_path)


def test_a_result_that_was_never_saved_has_no_folder():
    with pytest.raises(StageError, match="never saved"):
        _ = Count(rows=3).folder


@pytest.mark.parametrize("count", [0, 1, 7, 10])
def test_a_rate_lies_within_its_interval(count):
    figure = RateFigure.of(count, 10, 0.95)
    assert 0 <= figure.low <= figure.rate <= figure.high <= 1
    centre, spread = (
        (figure.rate + 1.96**2 / 20),
        1.96 * (figure.rate * (1 - figure.rate) / 10 + 1.96**2 / 400) ** 0.5,
    )
    ends = [(centre + sign * spread) / (1 + 1.96**2 / 10) for sign in (-1, 1)]
    assert [figure.low, figure.high] == pytest.approx(ends, abs=1e-4)


def test_a_rate_of_nothing_is_an_error():
    with pytest.raises(EvidenceError):
        RateFigure.of(0, 0, 0.95)


class Pair(Record):
    """A made-up record."""

    share: float
    parts: tuple[int, ...] = ()
    role: Role = Role.HARMFUL


@pytest.mark.parametrize(
    ("stated", "found", "places"),
    [
        (Pair(share=0.1 + 0.2), Pair(share=0.3), []),
        (Pair(share=0.1, parts=(1, 2)), {"share": 0.1, "parts": [1, 2], "role": "harmful"}, []),
        (Pair(share=0.1), Pair(share=0.2), ["it share"]),
        ({"a": [1, 2]}, {"a": [1, 3, 4]}, ["it a 2", "it a 3"]),
        ({Role.BENIGN: {"n": 1}}, {"benign": {"n": 2}}, ["it benign n"]),
        ({"a": 1}, {"b": 1}, ["it a", "it b"]),
        ({"a": True}, {"a": 1}, ["it a"]),
    ],
)
def test_every_place_that_differs_is_named(stated, found, places):
    named = [line.partition(" is stated as ")[0] for line in mismatches(stated, found, "it")]
    assert named == places
