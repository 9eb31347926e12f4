"""Where a result comes from, and what a stage cost."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from components.core.run_record import (
    PACKAGES,
    git_commit,
    part,
    run_record,
    spent,
    spent_before,
    take_parts,
    untracked,
    versions,
)
from components.core.storage import read_json


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_commit_and_changes(tmp_path):
    assert git_commit(tmp_path) == (None, False)
    git(tmp_path, "init")
    assert git_commit(tmp_path)[0] is None
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "one")
    assert git_commit(tmp_path) == (git(tmp_path, "rev-parse", "HEAD"), False)
    (tmp_path / "untracked").write_text("1")
    assert git_commit(tmp_path)[1] is False
    for place in ("mlflow/policies", "mlflow/overrides", "profiles", "data/suites", "components"):
        file = tmp_path / place / "mine.yaml"
        file.parent.mkdir(parents=True)
        file.write_text("1")
        assert git_commit(tmp_path)[1] is True, place
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-m", place)
        assert git_commit(tmp_path)[1] is False
    (tmp_path / ".gitignore").write_text("*.yaml\n")
    (tmp_path / "mlflow/overrides/more.yaml").write_text("1")  # ignored, and it decides
    assert git_commit(tmp_path)[1] is True
    (tmp_path / "mlflow/overrides/more.yaml").unlink()
    (tmp_path / "components/__pycache__").mkdir()
    (tmp_path / "components/__pycache__/a.pyc").write_text("1")
    assert git_commit(tmp_path)[1] is False
    (tmp_path / "a").write_text("2")
    assert git_commit(tmp_path)[1] is True


def test_git_reports_the_checkout_at_hand(tmp_path, monkeypatch):
    for name in ("mine", "other"):
        (tmp_path / name).mkdir()
        git(tmp_path / name, "init")
        (tmp_path / name / "file").write_text(name)
        git(tmp_path / name, "add", "file")
        git(tmp_path / name, "commit", "-m", name)
    commit = git(tmp_path / "mine", "rev-parse", "HEAD")
    for name, place in (("GIT_DIR", ".git"), ("GIT_WORK_TREE", "."), ("GIT_INDEX_FILE", "gone")):
        monkeypatch.setenv(name, str(tmp_path / "other" / place))
    assert git_commit(tmp_path / "mine") == (commit, False)


def test_what_a_clone_lacks_is_named_by_its_topmost_places(tmp_path):
    files = ("a/one", "a/two", "b/keep", "b/deep/er/x", "b/deep/y", "c/d/z", "e")
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("1")
    git(tmp_path, "init")
    git(tmp_path, "add", "a/one", "b/keep")
    assert untracked(tmp_path, ["a"]) == ["a/two"]
    assert untracked(tmp_path, ["b/deep/er/x", "b"]) == ["b/deep"]
    assert untracked(tmp_path, ["c/d/z", str(tmp_path / "e"), "a/one"]) == ["c", "e"]
    assert untracked(tmp_path, ["gone", "../other", "/"]) == []


def test_versions_name_the_libraries_that_shape_a_result():
    found = versions()
    assert set(found) == {"python", *PACKAGES}
    assert "not installed" not in found.values()


def test_a_run_record_is_written_on_success_only(tmp_path):
    path = tmp_path / "runs" / "train.json"
    with pytest.raises(RuntimeError), run_record(path):
        raise RuntimeError
    assert not path.exists()
    with run_record(path):
        pass
    record = read_json(path)
    assert record["seconds"] >= 0
    assert 10 < record["peak_memory_mib"] < 100_000
    assert record["parts"] == {}


# Two parts as a stage has them: arrays of a size that the C library keeps when they are freed.
PARTS = """
import sys
from pathlib import Path
from components.core.environment import settle_environment
settle_environment()
import numpy
from components.core.run_record import part, run_record
with run_record(Path(sys.argv[1])):
    for word in sys.argv[2:]:
        name, _, count = word.partition("=")
        with part(name):
            held = [numpy.ones(1 << 17) for _ in range(int(count))]  # a MiB each
            del held
"""


@pytest.mark.skipif(platform.system() != "Linux", reason="the peak begins anew on Linux alone")
def test_a_part_costs_the_same_whatever_came_before(tmp_path):
    costs = {}
    for order in ("large=300", "small=20"), ("small=20", "large=300"):
        path = tmp_path / f"{order[0]}.json"
        subprocess.run([sys.executable, "-c", PARTS, str(path), *order], check=True)
        record = read_json(path)
        costs[order] = {name: cost["peak_memory_mib"] for name, cost in record["parts"].items()}
        assert record["peak_memory_mib"] == max(costs[order].values())
    one, other = costs.values()
    for name in ("large", "small"):
        assert abs(one[name] - other[name]) < 10, costs
    assert 270 < one["large"] - one["small"] < 290


def test_what_a_large_parent_holds_is_not_the_child_s(tmp_path):
    large = bytearray(300 << 20)
    path = tmp_path / "record.json"
    code = (
        "import sys; from pathlib import Path; from components.core.run_record import run_record\n"
        "with run_record(Path(sys.argv[1])): pass"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert len(large) == 300 << 20
    assert read_json(path)["peak_memory_mib"] < 200


def test_the_processors_of_children_count(tmp_path):
    path = tmp_path / "record.json"
    with run_record(path):
        subprocess.run([sys.executable, "-c", "sum(range(10**7))"], check=True)
    assert read_json(path)["processor_seconds"] > 0.1


def test_a_part_of_no_record_is_measured_for_nobody(tmp_path):
    with run_record(tmp_path / "record.json"):
        pass
    before = read_json(tmp_path / "record.json")
    with part("of no record"):
        pass
    assert read_json(tmp_path / "record.json") == before


def test_a_part_that_goes_on_counts_what_was_spent_before(tmp_path):
    assert spent() == (0.0, 0)
    spent_before(5.0, 10)  # of no part, so of nothing
    with run_record(tmp_path / "record.json"):
        with part("new"):
            assert spent()[0] < 5
        with part("resumed"):
            spent_before(100.0, 10**6)
            spent_before(20.0, 1)
            seconds, peak = spent()
    assert 120 <= seconds < 125 and peak == 10**6
    parts = read_json(tmp_path / "record.json")["parts"]
    assert parts["new"]["seconds"] < 5
    assert seconds <= parts["resumed"]["seconds"] < 125
    assert parts["resumed"]["peak_memory_mib"] == 10**6


def test_the_parts_of_a_child_process_are_taken_over(tmp_path):
    left, record = tmp_path / "left.json", tmp_path / "record.json"
    with pytest.raises(RuntimeError), run_record(left):
        raise RuntimeError
    with run_record(record):
        take_parts([])
    assert read_json(record)["parts"] == {}
    with run_record(left), part("theirs"):
        pass
    with run_record(record):
        with part("ours"):
            pass
        take_parts([left])
    assert list(read_json(record)["parts"]) == ["ours", "theirs"]
    assert read_json(record)["parts"]["theirs"] == read_json(left)["parts"]["theirs"]
