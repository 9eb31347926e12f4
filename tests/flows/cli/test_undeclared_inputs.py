"""What DVC does not watch is refused before a run, and by the doctor, until it is pinned."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.chain import declared_files
from components.core.errors import ConfigError
from components.core.paths import Workspace
from components.core.storage import digest_folder
from components.declared_inputs import declare_files, named_files
from components.profile import load_profile
from components.undeclared_inputs import refuse_unwatched, unwatched
from flows.doctor.examination import Examined, check_profile_file
from flows.doctor.findings import State
from flows.runner.profiles import check_profile
from tests.root import ROOT

TINY = [f"data/embedded/tiny/{split}.jsonl" for split in ("test", "train")]
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


PINNED = "sha256: '" + 64 * "0" + "'"


@pytest.mark.parametrize(
    ("suites", "named"),
    [
        ("{}", []),
        ("{gsm8k: {}}", ["data/suites/gsm8k.yaml"]),  # at a commit
        ("{advbench: {}}", ["data/suites/advbench.yaml"]),  # its file is pinned by a digest
        ("{gsm8k: {path: far/../own/s.csv}}", ["data/suites/gsm8k.yaml", "own/s.csv"]),
        ("{gsm8k: {path: own/s.csv, " + PINNED + "}}", ["data/suites/gsm8k.yaml"]),
    ],
)
def test_dvc_knows_the_files_that_the_profile_names(project, suites, named):
    """A stage that DVC alone starts is refused until `dvc.yaml` names them; the next run writes
    them there."""
    written(project, "prepare", f"suites: {suites}")
    profile = load_profile(project.profile_file)
    assert set(named_files(profile, project.root)) == {*TINY, *named}
    if named:
        with pytest.raises(ConfigError, match="`safereact add demo` writes them there"):
            refuse_unwatched(profile, project)
    assert declare_files(project.root) is bool(named)
    assert declared_files(project.root) == {project.profile: sorted({*TINY, *named})}
    refuse_unwatched(profile, project)


def test_a_profile_that_is_not_valid_keeps_its_files_and_one_that_is_not_listed_has_none(project):
    project.profile_file.write_text("surprise: 1\n")
    assert not declare_files(project.root)
    project.parameters.write_text("profiles: {}\n")
    assert declare_files(project.root) and declared_files(project.root) == {}


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
