"""Logs of other harnesses, well and badly formed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.core.errors import ConfigError, DataError
from components.core.storage import write_text
from components.studies.diff import lm_eval_log, logs
from components.studies.diff.reading import read_log
from tests.harness_logs import WHEN, sample, write_samples


def values_of(path: Path, task: str = "sums") -> dict[str, dict[str, list[float]]]:
    return {name: one.values for name, one in read_log(path).tasks[task].items()}


def test_each_filter_makes_metrics_of_its_own(tmp_path: Path):
    lines = [sample(3, "strict", em=True), sample(3, "flexible", em=0.5, f1=1)]
    wanted = {"3": {"em,strict": [1.0], "em,flexible": [0.5], "f1,flexible": [1.0]}}
    path = write_samples(tmp_path / "model", lines)
    for place in (path, path.parent, tmp_path):
        assert values_of(place) == wanted


def test_of_a_task_the_newest_run_counts_and_is_named(tmp_path: Path):
    for when, value in (("2026-01-02T03-04-05", 0), (WHEN, 1), ("2025-12-31T23-59-59.9", 0)):
        write_samples(tmp_path, [sample(1, acc=value)], when=when)
    write_samples(tmp_path, [sample(1, acc=0)], "arc_easy")
    log = read_log(tmp_path)
    assert log.tasks["sums"]["1"].values == {"acc,none": [1.0]} and len(log.tasks) == 2
    (note,) = log.notes
    assert f"samples_sums_{WHEN}.jsonl" in note and "2 older" in note


def test_what_is_no_number_is_left_out_by_name(tmp_path: Path):
    lines = [sample(n, acc=1, pair=[0, 1], words={"a": 1}, said="x", none=None) for n in (1, 2)]
    lines.append({**sample(3, acc=1), "metrics": ["acc", "gone"]})
    lines += [sample(4, acc=float("nan")), sample(5, acc=10**400), sample(6, acc=-1e60)]
    log = read_log(write_samples(tmp_path, lines))
    held = {name: one.values for name, one in log.tasks["sums"].items() if one.values}
    assert held == {str(n): {"acc,none": [1.0]} for n in (1, 2, 3)} and len(log.tasks["sums"]) == 6
    assert {what.split()[2]: count for what, count in log.left_out.items()} == {
        "pair": 2, "words": 2, "said": 2, "none": 2, "gone": 1, "acc,none": 3
    }  # fmt: skip


def test_another_template_is_the_same_prompt_and_another_document_is_not(tmp_path: Path):
    first = sample(1, "a", acc=1)
    form = {**sample(1, "b", acc=1), "prompt_hash": "other"}
    assert values_of(write_samples(tmp_path, [first, form]))
    for key in ("doc_hash", "target_hash"):
        path = write_samples(tmp_path, [first, {**form, key: "other"}])
        with pytest.raises(DataError, match="prompt 1 of task sums were asked different"):
            read_log(path)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", r"line 2 is not JSON"),
        ('{"doc_id": "\udcff"}', r"line 2 is not JSON"),
        ("[" * 200_000, r"line 2 is nested too deeply"),
        ("9" * 5000, r"line 2 is not JSON"),
        ("[1]", r"line 2 is no JSON object"),
        (sample(1, acc=0), r"line 2: doc_id 1, filter none, is there twice"),
        ({**sample(2, acc=0), "doc_id": [1]}, r"line 2: doc_id is no number"),
        ({**sample(2, acc=0), "doc_id": "x" * 300}, r"longer than 200 characters"),
        ({**sample(2, acc=0), "doc_hash": None}, r"line 2: doc_hash is missing or no text"),
        ({**sample(2, acc=0), "filter": None}, r"line 2: filter or metrics is missing"),
        ({**sample(2, acc=0), "metrics": [["acc"]]}, r"line 2: metrics is no list of names"),
        (sample(2, **{f"m{i}": 0 for i in range(300)}), r"more than 200"),
        (" " * 5000, r"line 2 is longer"),
    ],
    ids=lambda value: value[:9] if isinstance(value, str) else "sample",
)
def test_a_broken_line_is_named(line, fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if fault.endswith("longer"):
        monkeypatch.setattr(lm_eval_log, "LONGEST_LINE", 4096)
    path = write_samples(tmp_path, [sample(1, acc=1)])
    text = line if isinstance(line, str) else json.dumps(line)
    path.write_bytes(path.read_bytes() + text.encode("utf-8", "surrogateescape") + b"\n")
    with pytest.raises(DataError, match=fault) as error:
        read_log(path)
    assert "secret" not in str(error.value) and len(str(error.value)) < 700


def test_a_log_beyond_the_bounds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_samples(tmp_path, [sample(n, acc=1) for n in range(9)])
    monkeypatch.setattr(logs, "MOST_VALUES", 17)
    with pytest.raises(DataError, match="more than 17 values"):
        read_log(path)
    monkeypatch.setattr(lm_eval_log, "MOST_BYTES", 100)
    with pytest.raises(DataError, match="GiB"):
        read_log(path)


def test_what_is_no_log_is_refused(tmp_path: Path):
    for name in ("results.csv", "mine.jsonl", "absent"):
        if name != "absent":
            write_text(tmp_path / "a" / name, "{}\n")
        with pytest.raises(DataError, match=r"samples_<task>_<when>\.jsonl"):
            read_log(tmp_path / "a" / name)
    with pytest.raises(DataError, match="holds no log"):
        read_log(tmp_path)
    with pytest.raises(DataError, match="holds no sample"):
        read_log(write_samples(tmp_path / "b", []))


def test_two_models_in_a_folder_are_refused(tmp_path: Path):
    for model in ("one", "two"):
        write_samples(tmp_path / model, [sample(1, acc=1)])
    with pytest.raises(DataError, match="more than one model or harness"):
        read_log(tmp_path)


def test_a_log_of_inspect_needs_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "inspect_ai", None)
    write_text(tmp_path / "x.eval", "")
    with pytest.raises(ConfigError, match=r"pip install 'safereact-ops\[inspect\]'"):
        read_log(tmp_path / "x.eval")
