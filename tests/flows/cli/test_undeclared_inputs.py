"""What DVC does not watch is refused before a run, and by the doctor, until it is pinned."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.core.errors import ConfigError
from components.core.paths import Workspace
from components.core.storage import digest_folder
from components.profile import load_profile
from components.undeclared_inputs import unwatched
from flows.doctor.examination import Examined, check_profile_file
from flows.doctor.findings import State
from flows.runner.profiles import check_profile
from tests.root import ROOT

GUARD = "{kind: wildguard, model: guards/mine"


def written(project: Workspace, section: str, line: str) -> list[str]:
    """Return what is reported once a line was put into a section of the profile."""
    text = project.profile_file.read_text().replace(f"\n{section}:\n", f"\n{section}:\n  {line}\n")
    assert line in text
    project.profile_file.write_text(text)
    return list(unwatched(load_profile(project.profile_file), project))


@pytest.fixture
def guard(project: Workspace) -> Path:
    folder = project.root / "guards" / "mine"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("prepare", "suites: {}"),
        ("prepare", "suites: {gsm8k: {}, advbench: {}}"),  # at a commit, and pinned by a digest
        ("prepare", "suites: {gsm8k: {path: own/sums.jsonl}}"),
        ("prepare", "suites: {gsm8k: {path: data/suites/../suites/sums.jsonl}}"),
        ("prepare", "suites: {gsm8k: {path: far/sums.jsonl, sha256: '" + 64 * "0" + "'}}"),
        ("evaluate", "calibration: data/calibration/mine.jsonl"),
        ("evaluate", "judges: {mine: " + GUARD + ", revision: '" + 64 * "0" + "'}}"),
        ("evaluate", "judges: {mine: {kind: wildguard, model: allenai/wildguard}}"),
    ],
)
def test_what_is_watched_or_pinned_is_not_reported(project, guard, section, line):
    assert written(project, section, line) == []
    check_profile(project)


@pytest.mark.parametrize(
    ("section", "line", "reported"),
    [
        (
            "prepare",
            "suites: {gsm8k: {path: far/sums.jsonl}}",
            "the suite 'gsm8k' reads far/sums.jsonl, which DVC does not watch; put it below own, "
            "or write its digest as `sha256` beside its `path` (`sha256sum far/sums.jsonl`)",
        ),
        (
            "evaluate",
            "calibration: own/cases.jsonl",
            "evaluate.calibration is own/cases.jsonl, which DVC does not watch; put the cases "
            "below data/calibration",
        ),
    ],
)
def test_what_is_neither_is_refused_with_the_remedy(project, section, line, reported):
    assert written(project, section, line) == [reported]
    with pytest.raises(ConfigError, match="which DVC does not watch"):
        check_profile(project)
    (finding,) = check_profile_file(Examined.of(load_profile(project.profile_file), project))
    assert finding.state is State.MISSING and f"{finding.message}; {finding.remedy}" == reported


def test_a_stage_that_dvc_alone_starts_is_refused_too(project):
    written(project, "evaluate", "calibration: own/cases.jsonl")
    done = subprocess.run(
        [sys.executable, "-m", "components", "prepare", "--profile", project.profile],
        cwd=project.root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ConfigError.exit_code
    (line,) = done.stderr.splitlines()
    assert line.startswith("prepare: evaluate.calibration is own/cases.jsonl, which DVC does not")
    assert not project.stage("prepare").exists()


def test_a_source_elsewhere_or_behind_a_link_is_refused(project, tmp_path):
    path = "data/embedded/tiny/train.jsonl"
    assert written(project, "prepare", "overlap_ngram: 9") == []
    text = project.profile_file.read_text()
    far = tmp_path / "far"
    far.mkdir()
    (project.root / "own" / "link").symlink_to(far)
    for other in ("elsewhere/train.jsonl", "own/link/train.jsonl"):
        project.profile_file.write_text(text.replace(path, other, 1))
        (reported,) = unwatched(load_profile(project.profile_file), project)
        assert f"reads {other}, which DVC does not watch; put it below own, or name" in reported
    project.profile_file.write_text(text.replace(path, "own/train.jsonl", 1))
    assert list(unwatched(load_profile(project.profile_file), project)) == []


def test_a_guards_folder_is_refused_with_the_digest_to_write(project, guard):
    (reported,) = written(project, "evaluate", "judges: {mine: " + GUARD + "}}")
    assert reported == (
        "the judge 'mine' is the folder guards/mine, which DVC does not watch; write "
        f"evaluate.judges.mine.revision: {digest_folder(guard)}"
    )


def test_the_doctor_tells_of_a_suite_that_is_unknown(project):
    text = project.profile_file.read_text()
    project.profile_file.write_text(text.replace("prepare:\n", "prepare:\n  suites: {x: {}}\n", 1))
    (finding,) = check_profile_file(Examined.of(load_profile(project.profile_file), project))
    assert finding.message.startswith("unknown suite 'x'")
