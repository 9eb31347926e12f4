"""Writing is all or nothing; digests depend on names and contents alone."""

from __future__ import annotations

import itertools
import os
import shutil
import stat
import sys
from dataclasses import dataclass

import pytest

from components.core import storage
from components.core.errors import ConfigError, InterruptionError, StageError
from components.core.journal import Journal
from tests.hostile import HOSTILE


def test_a_failed_write_leaves_the_old_file_and_no_scratch(tmp_path):
    path = tmp_path / "a.json"
    storage.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        storage.write_json(path, {"a": float("nan")})
    with pytest.raises(RuntimeError), storage.atomic_path(path) as scratch:
        scratch.write_text("half")
        raise RuntimeError
    assert storage.read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_failed_folder_leaves_the_old_one(tmp_path):
    folder = tmp_path / "stage"
    with storage.atomic_folder(folder) as out:
        (out / "a").write_text("1")
    with pytest.raises(RuntimeError), storage.atomic_folder(folder) as out:
        (out / "b").write_text("2")
        raise RuntimeError
    assert [p.name for p in folder.iterdir()] == ["a"]
    assert [p.name for p in tmp_path.iterdir()] == ["stage"]


def test_what_a_killed_process_left_is_removed_first(tmp_path):
    folder = tmp_path / "stage"
    child = os.fork()
    if child == 0:  # a process that dies within the block, as by kill -9
        with storage.atomic_folder(folder) as out:
            (out / "half").write_text("x")
            os._exit(9)
    os.waitpid(child, 0)
    assert not folder.exists()
    assert [p.name for p in tmp_path.iterdir()] == [".stage.partial"]
    with storage.atomic_folder(folder) as out:
        assert list(out.iterdir()) == []
        (out / "whole").write_text("x")
    assert [p.name for p in tmp_path.iterdir()] == ["stage"]


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_results_are_their_owner_s_alone_and_files_of_the_repository_everybody_s(tmp_path):
    before = os.umask(0)
    try:
        storage.write_text(tmp_path / "rows", "x")
        storage.write_text(tmp_path / "profile", "x", mode=storage.EVERYBODY)
        with storage.atomic_folder(tmp_path / "stage") as out:
            (out / "a").touch()
        with storage.resumable_folder(tmp_path / "resumable", "key") as out:
            (out / "a").touch()
    finally:
        os.umask(before)
    modes = {path.name: mode(path) for path in tmp_path.iterdir()}
    assert modes == {"rows": 0o600, "profile": 0o644, "stage": 0o700, "resumable": 0o700}


@pytest.mark.parametrize(("made", "kept"), [(0o755, 0o700), (0o777, 0o700), (0o750, 0o750)])
def test_a_folder_that_everybody_may_read_is_closed_and_a_group_s_is_not(tmp_path, made, kept):
    folder = tmp_path / "artifacts"
    storage.keep_private(folder)
    assert mode(folder) == 0o700
    folder.chmod(made)
    storage.keep_private(folder)
    assert mode(folder) == kept


def killed_in(folder, key, name):
    """Let a process die, as by kill -9, once it has written a file into a resumable folder."""
    child = os.fork()
    if child == 0:
        with storage.resumable_folder(folder, key) as out:
            (out / name).write_text("x")
            os._exit(9)
    os.waitpid(child, 0)


def visible(folder):
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))


def test_what_a_killed_process_left_is_taken_up_under_the_same_key(tmp_path):
    folder = tmp_path / "stage"
    killed_in(folder, "one", "first")
    killed_in(folder, "one", "second")
    assert not folder.exists()
    with storage.resumable_folder(folder, "one") as out:
        assert visible(out) == ["first", "second"]
    assert [p.name for p in tmp_path.iterdir()] == ["stage"]
    assert sorted(p.name for p in folder.iterdir()) == ["first", "second"]


def test_another_key_begins_anew(tmp_path):
    folder = tmp_path / "stage"
    killed_in(folder, "one", "first")
    with storage.resumable_folder(folder, "two") as out:
        assert visible(out) == []


@pytest.mark.parametrize("error", [StageError, InterruptionError, KeyboardInterrupt, RuntimeError])
def test_whatever_ended_a_run_the_next_one_goes_on_without_torn_files(tmp_path, error):
    folder = tmp_path / "stage"
    with pytest.raises(error), storage.resumable_folder(folder, "one") as out:
        (out / "a").write_text("x")
        (out / ".a.torn").write_text("x")
        raise error
    with storage.resumable_folder(folder, "one") as out:
        assert visible(out) == ["a"]
    assert [path.name for path in folder.iterdir()] == ["a"]


class Numbers(Journal):
    """A journal of numbers."""

    def __init__(self, path):
        self.known = set()
        super().__init__(path)

    def take(self, line):
        self.known.add(line["number"])


def fill(folder, kill_at=0):
    """Fill a resumable folder as a stage with two journals does, and return what was asked for,
    since no journal had it; with a number, die before that operation on files of the end."""
    asked = []
    with (
        storage.resumable_folder(folder, "key") as out,
        Numbers(out / "first.jsonl") as first,
        Numbers(out / "second.jsonl") as second,
    ):
        for journal in (first, second):
            for number in sorted({1, 2} - journal.known):
                asked.append(number)
                journal.append([{"number": number}])
        (out / "adapter").mkdir(exist_ok=True)
        storage.write_text(out / "adapter" / "weights", "w")
        storage.write_text(out / "figures", "new")
        if kill_at:
            die_at(kill_at)
    return asked


def die_at(number):
    """Let this process die, as by kill -9, before the operation on files of this number."""
    count = itertools.count(1)

    def hook(event, arguments):
        if (event.startswith("os.") or event == "open") and next(count) == number:
            os._exit(9)

    sys.addaudithook(hook)


def is_killed(folder, number):
    """Fill the folder in a process of its own; return whether it died before it was done."""
    child = os.fork()
    if child == 0:
        try:
            fill(folder, kill_at=number)
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 9


def texts(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


@pytest.mark.parametrize("removed", [False, True], ids=["kept", "removed by DVC"])
def test_a_kill_at_any_moment_of_the_end_loses_nothing(tmp_path, removed):
    old, new = {"figures": "old"}, {"figures": "new", "adapter/weights": "w"}
    for number in itertools.count(1):
        folder = tmp_path / str(number) / "stage"
        with storage.resumable_folder(folder, "old") as out:
            (out / "figures").write_text("old")
        if not is_killed(folder, number):
            break
        assert texts(folder) in ({}, old, new), f"half of it after {number}"
        done = not (folder.with_name(".stage.partial") / ".key").exists()
        assert texts(folder) == new or not done
        if removed:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            with pytest.raises(KeyboardInterrupt), storage.resumable_folder(folder, "key"):
                raise KeyboardInterrupt
            assert texts(folder) in (old, new), f"the old one is lost after {number}"
        asked = fill(folder)
        assert done or asked == [], f"asked again after {number}"
        assert texts(folder) == new
        assert [path.name for path in folder.parent.iterdir()] == ["stage"]
    assert texts(folder) == new and number > 10


def test_what_is_discarded_goes_at_once_or_with_the_end(tmp_path):
    (tmp_path / "note").touch()
    storage.discard(tmp_path / "note")
    assert list(tmp_path.iterdir()) == []
    with storage.resumable_folder(tmp_path / "stage", "key") as out:
        (out / "note").touch()
        storage.discard(out / "note")
        assert (out / "note").exists()
    assert list((tmp_path / "stage").iterdir()) == []


@dataclass
class Row:
    name: str
    number: int | None
    flag: bool | None


def test_rows_come_back_as_they_were(tmp_path):
    rows = [Row("a", 1, True), Row("é\n", None, None)]
    storage.write_rows(tmp_path / "rows.parquet", rows, Row)
    assert storage.read_rows(tmp_path / "rows.parquet") == [
        {"name": "a", "number": 1, "flag": True},
        {"name": "é\n", "number": None, "flag": None},
    ]


def test_no_rows_keep_their_columns(tmp_path):
    storage.write_rows(tmp_path / "rows.parquet", [], Row)
    assert storage.read_rows(tmp_path / "rows.parquet") == []


@pytest.mark.parametrize("content", [None, b"{", b"\xff"])
def test_missing_and_broken_json_is_named(tmp_path, content):
    path = tmp_path / "metrics.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StageError, match=r"metrics\.json"):
        storage.read_json(path)


def test_broken_parquet_is_named(tmp_path):
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    with pytest.raises(StageError, match=r"rows\.parquet"):
        storage.read_rows(tmp_path / "rows.parquet")


def test_digest_of_a_folder_sees_names_and_contents_and_no_hidden_files(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "a.json").write_text("1")
    one, two = tmp_path / "one", tmp_path / "two"
    assert storage.digest_folder(one) == storage.digest_folder(two)
    (two / ".cache").write_text("x")
    assert storage.digest_folder(one) == storage.digest_folder(two)
    (two / "b.txt").write_text("x")
    assert storage.digest_folder(one) != storage.digest_folder(two)
    assert storage.digest_folder(one) == storage.digest_folder(two, suffixes=(".json",))
    (two / "b.txt").unlink()
    (two / "sub" / "a.json").rename(two / "a.json")
    assert storage.digest_folder(one) != storage.digest_folder(two)


def test_a_record_under_another_ending_is_named_and_not_passed_over(tmp_path):
    assert storage.records_in(tmp_path / "missing", ".yaml") == []
    for name in ("b.yaml", "a.yaml", "README.md", "a.yaml.dvc", ".gitkeep"):
        (tmp_path / name).touch()
    assert [path.name for path in storage.records_in(tmp_path, ".yaml")] == ["a.yaml", "b.yaml"]
    for name in ("c.yml", "c.YAML", "c"):
        (tmp_path / name).touch()
        with pytest.raises(ConfigError, match=rf"{name} is not read.* end in \.yaml"):
            storage.records_in(tmp_path, ".yaml")
        (tmp_path / name).unlink()


@pytest.mark.parametrize("place", ["a.yaml", "old", ""])
@pytest.mark.parametrize("what", ["a folder", "a link to nothing"])
def test_what_is_no_record_is_named_and_not_passed_over(tmp_path, place, what):
    folder = tmp_path / "records"
    at = folder / place if place else folder
    if what == "a folder" and not place:
        folder.touch()  # the other way round
    else:
        at.parent.mkdir(exist_ok=True)
        at.mkdir() if what == "a folder" else at.symlink_to("nowhere")
    with pytest.raises(ConfigError, match=str(at)):
        storage.records_in(folder, ".yaml")


@pytest.mark.parametrize("where", ["{}", "[{}]", '{{"x": {}}}'])
def test_a_key_that_is_given_twice_is_named_and_not_lost(tmp_path, where):
    path = tmp_path / "a.json"
    path.write_text(where.format('{"a": 1, "b": 2, "a": 3}'))
    with pytest.raises(StageError, match=r"a\.json.*'a' is given twice"):
        storage.read_json(path)
    path.write_text('{"b": 1}\n{"a": 1, "a": 1}\n')
    with pytest.raises(StageError, match=r"line 2.*'a' is given twice"):
        storage.read_json_lines(path)


def test_digests_are_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert storage.digest_file(tmp_path / "a") == known == storage.digest_bytes(b"abc")


def test_texts_that_utf_8_cannot_write_are_written_all_the_same(tmp_path):
    rows = [Text(text) for text in HOSTILE.values()]
    storage.write_rows(tmp_path / "rows.parquet", rows, Text)
    read = [row["text"] for row in storage.read_rows(tmp_path / "rows.parquet")]
    changed = {a: b for a, b in zip(HOSTILE.values(), read, strict=True) if a != b}
    assert changed == {HOSTILE["surrogates"]: "\ufffd \ufffd\ufffd"}


@dataclass(frozen=True, slots=True)
class Text:
    text: str
