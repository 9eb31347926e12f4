"""A journal holds what was finished, through kills and full disks, and goes with success."""

from __future__ import annotations

import resource

import pytest

from components.core.errors import InterruptionError, StageError
from components.core.journal import Journal


class Numbers(Journal):
    """A journal of numbers."""

    def __init__(self, path):
        self.known = []
        super().__init__(path)

    def take(self, line):
        self.known.append(int(line["number"]))


def keep(path, *numbers):
    """Append the numbers, one call each, and end as a killed process does: the file stays."""
    with pytest.raises(KeyboardInterrupt), Numbers(path) as journal:
        for number in numbers:
            journal.append([{"number": number}])
        raise KeyboardInterrupt


def test_what_was_appended_is_there_after_a_stop_and_goes_with_success(tmp_path):
    path = tmp_path / "journal.jsonl"
    keep(path, 1, 2)
    keep(path, 3)
    with Numbers(path) as journal:
        assert journal.known == [1, 2, 3]
    assert not path.exists()


@pytest.mark.parametrize("torn", [b'{"number": 7', b'{"number": 7}', b"\x00\x00"])
def test_a_torn_last_line_is_cut_off(tmp_path, torn):
    path = tmp_path / "journal.jsonl"
    keep(path, 1)
    path.write_bytes(path.read_bytes() + torn)
    keep(path, 2)
    with Numbers(path) as journal:
        assert journal.known == [1, 2]


@pytest.mark.parametrize("broken", ["{", "[]", "7", '{"other": 1}', '{"number": "x"}'])
def test_another_broken_line_is_named(tmp_path, broken):
    path = tmp_path / "journal.jsonl"
    path.write_text(f'{{"number": 1}}\n{broken}\n{{"number": 2}}\n')
    with pytest.raises(StageError, match=r"line 2 of .*journal\.jsonl is broken .* delete the"):
        Numbers(path)


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path):
    """A limit of the file's size is the full disk."""
    path = tmp_path / "journal.jsonl"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    keep(path, 1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with (
            pytest.raises(InterruptionError, match=r"no room for .*what was finished is kept"),
            Numbers(path) as journal,
        ):
            journal.append({"number": number} for number in range(50))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with Numbers(path) as journal:
        assert journal.known == [1]
