"""Logs that Inspect's own code wrote, read back. Skipped without the extra."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from components.core.errors import DataError
from components.studies.diff import inspect_log
from components.studies.diff.reading import read_log
from tests.harness_logs import write_inspect_log

pytest.importorskip("inspect_ai")
STAMP = "2026-01-02T03-04-05_sums_x"


@pytest.mark.parametrize("kind", ["eval", "json"])
def test_scores_are_values_by_prompt_and_epoch(kind: str, tmp_path: Path):
    given = {"a": ["C", "I"], "b": ["P", "yes"], "c": [2, "0.25"], "d": [False, "refused"]}
    path = write_inspect_log(tmp_path / f"{STAMP}.{kind}", given)
    for place in (path, tmp_path):
        log = read_log(place)
        assert {name: one.values["match"] for name, one in log.tasks["sums"].items()} == {
            "a": [1, 0], "b": [0.5, 1], "c": [2, 0.25], "d": [0, "refused"]
        }  # fmt: skip
        assert not log.left_out and not log.notes


def test_several_values_are_metrics_of_their_own_and_lists_are_none(tmp_path: Path):
    given = {"a": [{"x": 1, "y": "C", "z": None}], "b": [[1, 2]]}
    log = read_log(write_inspect_log(tmp_path / "x.eval", given))
    assert log.tasks["sums"]["a"].values == {"match.x": [1.0], "match.y": [1.0]}
    assert sorted(log.left_out.values()) == [1, 1]


def test_samples_without_a_score_are_counted_apart(tmp_path: Path):
    given = {"a": ["C", ValueError()], "b": [None, "C"], "c": [float("nan"), "I"]}
    log = read_log(write_inspect_log(tmp_path / "x.eval", given))
    assert {n: one.values["match"] for n, one in log.tasks["sums"].items()} == {
        "a": [1], "b": [1], "c": [0]
    }  # fmt: skip
    assert sorted(log.left_out.values()) == [1, 1, 1] and len(log.left_out) == 3


def test_the_same_input_has_the_same_content_whatever_its_messages_ids(tmp_path: Path):
    first, second = (
        read_log(write_inspect_log(tmp_path / f"{n}.eval", {"a": ["C"]})) for n in "xy"
    )
    assert first.tasks["sums"]["a"].content == second.tasks["sums"]["a"].content
    other = read_log(write_inspect_log(tmp_path / "z.eval", {"b": ["C"]}))
    assert other.tasks["sums"]["b"].content != first.tasks["sums"]["a"].content


@pytest.mark.parametrize("status", ["error", "cancelled", "started"])
def test_a_log_that_did_not_end_is_read_only_when_complete(status: str, tmp_path: Path):
    whole = write_inspect_log(tmp_path / "a.eval", {"a": ["C"], "b": ["I"]}, status=status)
    assert len(read_log(whole).tasks["sums"]) == 2
    part = write_inspect_log(tmp_path / "b.eval", {"a": ["C"], "b": ["missing"]}, status=status)
    with pytest.raises(DataError, match=rf"status {status} and not all of its samples"):
        read_log(part)


def test_the_newest_run_of_a_task_counts_and_models_are_not_mixed(tmp_path: Path):
    for year, value in ((2024, "I"), (2025, "C")):
        created = f"{year}-01-01T00:00:00+00:00"
        write_inspect_log(tmp_path / f"{9999 - year}.eval", {"a": [value]}, created=created)
    log = read_log(tmp_path)
    assert log.tasks["sums"]["a"].values == {"match": [1]} and "1 older" in log.notes[0]
    write_inspect_log(tmp_path / "z.eval", {"a": ["C"]}, model="n")
    with pytest.raises(DataError, match="more than one model: m, n"):
        read_log(tmp_path)


def broken(path: Path, how: str) -> bytes:
    """Return the bytes of a log that is none."""
    if how == "bomb":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("header.json", b" " * (65 << 20))
        return packed.getvalue()
    content = path.read_bytes()
    return {"empty": b"", "text": b"no log", "cut": content[: len(content) // 2]}[how]


@pytest.mark.parametrize("how", ["empty", "text", "cut", "bomb"])
def test_what_is_no_log_is_refused(how: str, tmp_path: Path):
    path = write_inspect_log(tmp_path / "x.eval", {"a": ["C"]})
    path.write_bytes(broken(path, how))
    with pytest.raises(DataError, match=r"x\.eval (cannot be read|has more than)"):
        read_log(path)


def test_a_message_quotes_no_text_of_a_log(tmp_path: Path):
    path = write_inspect_log(tmp_path / "x.json", {"a": ["C"]})
    document = json.loads(path.read_text())
    document["samples"][0]["target"] = {"secret": "secret"}
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match="faults of EvalLog") as error:
        read_log(path)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", "[" * 100_000, json.dumps({"version": 2, "status": "success"})]
)
def test_json_that_is_no_log_is_refused(text: str, tmp_path: Path):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"x\.json cannot be read"):
        read_log(path)


def test_a_log_beyond_the_bounds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_inspect_log(tmp_path / "x.json", {"a": ["C"]})
    monkeypatch.setattr(inspect_log, "MOST_JSON", 100)
    with pytest.raises(DataError, match="split the task"):
        read_log(path)
