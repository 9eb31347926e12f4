"""A pinned commit gives its own rows or one error, whatever else lies in the caches."""

from __future__ import annotations

import json
import os
import threading
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from components.core.errors import DataError
from components.prepare.hub import find_snapshot, read_hub
from components.prepare.settings import Source
from tests.components.prepare.rows import source_of
from tests.hub import write_commit

NAME, OLD, NEW = "owner/Set", "a" * 40, "b" * 40
ROWS = {OLD: ["one", "two"], NEW: ["one", "three", "four"]}
CARD = """---
configs:
- config_name: main
  data_files:
  - split: test
    path: data/*.jsonl
- config_name: other
  data_files:
  - split: test
    path: other.jsonl
---
"""


def lines(texts: list[str]) -> str:
    return "".join(f"{json.dumps({'text': text})}\n" for text in texts)


def files_of(commit: str, *, card: bool) -> dict[str, str]:
    """Return the files of one of the two commits, with or without a card that names subsets."""
    rows = {"data/test.jsonl": lines(ROWS[commit])}
    return {"README.md": CARD, "other.jsonl": lines(["other"]), **rows} if card else rows


def hub_source(commit: str, subset: str | None, split: str) -> Source:
    origin = {"path": None, "hub": NAME, "revision": commit, "subset": subset, "hub_split": split}
    return source_of("mine", **origin)


def read(commit: str, *, subset: str | None = None, split: str = "test") -> list[str]:
    rows = read_hub(hub_source(commit, subset, split))
    assert [number for number, _ in rows] == list(range(1, len(rows) + 1))
    return [row["text"] for _, row in rows]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and beside it an empty cache of what `load_dataset` has prepared."""
    import datasets

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "prepared")
    return tmp_path / "hub"


def leave_prepared(cache: Path, commit: str, snapshot: Path, subset: str | None) -> Path:
    """Leave behind what `load_dataset(NAME, subset)` would have of a commit; return its folder."""
    import datasets

    files = {"test": str(snapshot / "data" / "test.jsonl")}
    builder = datasets.load_dataset_builder(
        "json", data_files=files, cache_dir=str(cache.parent / "scratch")
    )
    builder.dataset_name, builder.info.config_name = "set", subset or "default"
    place = cache.parent / "prepared" / "owner___set" / (subset or "default") / "0.0.0" / commit
    builder.download_and_prepare(str(place))
    return place


@pytest.mark.parametrize("newest", [OLD, NEW])
@pytest.mark.parametrize("subset", [None, "main"])
def test_each_pin_reads_its_own_rows(cache: Path, subset: str | None, newest: str):
    for commit in (OLD, NEW):
        files = files_of(commit, card=subset is not None)
        snapshot = write_commit(cache, NAME, commit, files)
        prepared = leave_prepared(cache, commit, snapshot, subset)
        time = 2_000_000_000 if commit == newest else 1_000_000_000
        blobs = [path.resolve() for path in snapshot.rglob("*") if path.is_file()]
        for place in (prepared, snapshot, *blobs):
            os.utime(place, (time, time))
    for commit in (OLD, NEW, OLD):
        assert read(commit, subset=subset) == ROWS[commit]


@pytest.mark.parametrize("subset", [None, "main"])
def test_an_uncached_pin_is_an_error_and_not_another_revision(cache: Path, subset: str | None):
    snapshot = write_commit(cache, NAME, OLD, files_of(OLD, card=subset is not None))
    leave_prepared(cache, OLD, snapshot, subset)
    with pytest.raises(DataError) as error:
        read(NEW, subset=subset)
    message = str(error.value)
    assert message.startswith(f"source 'mine': hub data set '{NAME}' at {NEW[:12]} is not in the")
    assert f"`hf download {NAME} --repo-type dataset --revision {NEW}`" in message
    assert "give its file as `path`" in message
    assert find_snapshot(NAME, NEW) is None and find_snapshot(NAME, OLD) == snapshot.resolve()


def test_numbers_of_single_precision_are_read_as_they_are_written(cache: Path):
    card = "---\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n  - name: answer\n"
    rows = '{"text": "one", "answer": 0.1}\n{"text": "two", "answer": null}\n'
    files = {"README.md": f"{card}    dtype: float32\n---\n", "data/test.jsonl": rows}
    write_commit(cache, NAME, OLD, files)
    found = read_hub(hub_source(OLD, None, "test"))
    assert [row["answer"] for _, row in found] == [Decimal("0.1"), None]


def test_parquet_is_read_as_well(cache: Path):
    import pandas as pd

    folder = write_commit(cache, NAME, OLD, {"README.md": "A set.\n"})
    pd.DataFrame({"text": ["one"]}).to_parquet(folder / "test-00000-of-00001.parquet")
    assert read(OLD) == ["one"]


@pytest.mark.parametrize("kept", ["nothing", "the list", "a part"])
def test_what_is_not_known_to_be_whole_counts_as_not_here(cache: Path, kept: str):
    files = {"data/test-0.jsonl": lines(["one"]), "data/test-1.jsonl": lines(["two"])}
    missing = {"nothing": list(files), "the list": ["data/test-1.jsonl"], "a part": []}[kept]
    write_commit(cache, NAME, OLD, files, missing=missing, listed=kept == "the list")
    assert find_snapshot(NAME, OLD) is None
    with pytest.raises(DataError, match=r"only in part.*`hf download owner/Set --repo-type"):
        read(OLD)


def test_the_rest_of_a_part_is_read_once_it_is_there(cache: Path):
    """The card's patterns stay the same, and with them the key of what datasets prepares."""
    files = {"README.md": CARD, "other.jsonl": lines(["o"]), "data/0.jsonl": lines(["one"])}
    folder = write_commit(cache, NAME, OLD, files)
    assert read(OLD, subset="main") == ["one"]
    (folder / "data" / "1.jsonl").write_text(lines(["two"]))
    assert read(OLD, subset="main") == ["one", "two"]


@pytest.mark.parametrize(
    ("subset", "split", "words"),
    [
        ("gone", "test", "'gone' not found. Available: .*main"),
        ("main", "gone", 'Unknown split "gone"'),
        (None, "test", "Config name is missing"),
    ],
)
def test_an_unknown_subset_or_split_is_named(cache: Path, subset: str, split: str, words: str):
    write_commit(cache, NAME, OLD, files_of(OLD, card=True))
    with pytest.raises(DataError, match=f"cannot be loaded .*{words}.*check `subset` and"):
        read(OLD, subset=subset, split=split)


@pytest.mark.parametrize("beside", [{}, {"data/test.jsonl": lines(["one"])}])
def test_a_loading_script_is_refused_and_not_run(cache: Path, tmp_path: Path, beside: dict):
    script = f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
    write_commit(cache, NAME, OLD, {"Set.py": script, **beside})
    with pytest.raises(DataError, match=r"script of its own \(Set.py\), and no code .*`path`"):
        read(OLD)
    assert not (tmp_path / "ran").exists()


def test_rows_that_cannot_be_parsed_are_one_error(cache: Path):
    write_commit(cache, NAME, OLD, {"test.jsonl": '{"text": "one"}\n{"text": \n'})
    with pytest.raises(DataError, match=f"source 'mine': hub data set '{NAME}' .*cannot be loaded"):
        read(OLD)


@pytest.mark.parametrize("path", [f"../{NEW}/data/test.jsonl", "{cache}/../own.jsonl"])
def test_files_that_the_commit_does_not_pin_are_not_read(cache: Path, path: str):
    write_commit(cache, NAME, NEW, files_of(NEW, card=False))
    (cache.parent / "own.jsonl").write_text(lines(["secret"]))
    card = CARD.replace("data/*.jsonl", path.format(cache=cache))
    write_commit(cache, NAME, OLD, {"README.md": card, "other.jsonl": lines(["other"])})
    with pytest.raises(DataError, match=r"names a file that is not its own \(.*\.jsonl\)"):
        read(OLD, subset="main")


class Hub(BaseHTTPRequestHandler):
    """A hub that answers everything with one status and one code of an error."""

    answer = (403, "GatedRepo")

    def do_GET(self):
        status, code = self.answer
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *args):
        """Stay silent."""


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((403, "GatedRepo"), "is gated; accept its licence on https://.*/owner/Set, then log in"),
        ((404, "RevisionNotFound"), "is not on the hub; check `revision`"),
        ((401, "RepoNotFound"), "is not on the hub, or is private; check `hub`, or log in"),
    ],
)
def test_what_the_hub_refuses_is_an_error_with_its_remedy(
    cache: Path, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str], words: str
):
    """What another revision left behind is not read in its place."""
    snapshot = write_commit(cache, NAME, OLD, files_of(OLD, card=False))
    leave_prepared(cache, OLD, snapshot, None)
    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(Hub, "answer", answer)
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    try:
        with pytest.raises(DataError, match=words):
            read(NEW)
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("split", "words"), [("test", "corresponds to no data"), ("train[:0]", "no rows|no data")]
)
def test_a_split_without_rows_is_an_error(cache: Path, split: str, words: str):
    write_commit(cache, NAME, OLD, {"test.csv": "text\n", "train.csv": "text\none\n"})
    with pytest.raises(DataError, match=words):
        read(OLD, split=split)
