"""`safereact suites`: what is here is found, what is not is said, and nothing is fetched."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from components.core.errors import ConfigError, DataError
from components.core.paths import SUITES, Workspace
from components.prepare.settings import SuiteUse
from components.prepare.sources import read_suite
from components.prepare.suites import load_suite, suites_in
from components.profile import load_profile
from flows.cli.suites import list_suites, list_used, suites_table
from flows.doctor.examination import Examined, check_suites
from flows.doctor.findings import Finding, State
from tests.flows.conftest import invoke
from tests.hub import write_commit

COMMIT = "740312add88f781978c0658806c59bc2815b9866"
GSM8K = """---
configs:
- config_name: main
  data_files:
  - split: test
    path: main/test*
---
"""


def lines_of(listings, root: Path) -> dict[str, str]:
    """Return the table's lines by the suite they are about."""
    written = StringIO()
    Console(width=240, file=written).print(suites_table(listings, root))
    lines = [line.strip("│ ") for line in written.getvalue().splitlines() if "│" in line]
    return {line.split()[0]: line for line in lines}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no token."""
    folder = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return folder


def test_every_suite_is_listed_with_what_it_asks(project: Workspace, cache: Path):
    lines = lines_of(list_suites(project.root), project.root)
    assert list(lines) == suites_in(project.root / SUITES)
    cells = [cell.strip() for cell in lines["aime-2024"].split("│")]
    assert cells[1:6] == ["reasoning", "all", "8", "32768", "rules"]
    assert cells[8:10] == ["HuggingFaceH4/aime_2024@2fe88a2f1091", "no"]
    assert "data/raw/public/harmful_behaviors.csv" in lines["advbench"]


def test_files_and_cached_data_sets_are_found(project: Workspace, cache: Path):
    before = lines_of(list_suites(project.root), project.root)
    assert before["advbench"].endswith("no file") and before["gsm8k"].endswith("not yet")
    place = project.root / "data" / "raw" / "public" / "harmful_behaviors.csv"
    place.parent.mkdir(parents=True)
    place.write_text("goal,target\n")
    files = {"README.md": GSM8K, "main/test.jsonl": '{"question": "2 + 3?", "answer": "#### 5"}\n'}
    write_commit(cache, "openai/gsm8k", COMMIT, files)
    after = lines_of(list_suites(project.root), project.root)
    assert after["advbench"].endswith("yes") and after["gsm8k"].endswith("in the hub cache")
    assert after["math-500"].endswith("not yet")
    # What is reported to be here is what the stage reads.
    suite = load_suite(project.root / SUITES / "gsm8k.yaml")
    (row,) = read_suite(suite, seed=0)
    assert (row.text, row.answer) == ("2 + 3?", "5")
    assert checked(project, gsm8k={})["suites"].state is State.OK


def test_a_part_of_a_data_set_is_not_here(project: Workspace, cache: Path):
    """Such as the card alone, which another reader of the data set fetched."""
    empty = cache / "datasets--openai--gsm8k" / "snapshots" / COMMIT
    empty.mkdir(parents=True)
    commit = load_suite(project.root / SUITES / "math-500.yaml").source.revision or ""
    files = {"README.md": "A card.\n", "test.jsonl": "{}\n"}
    write_commit(cache, "HuggingFaceH4/MATH-500", commit, files, missing=["test.jsonl"])
    lines = lines_of(list_suites(project.root), project.root)
    assert lines["gsm8k"].endswith("not yet") and lines["math-500"].endswith("not yet")
    found = checked(project, gsm8k={})["suite gsm8k"]
    assert found.state is State.MISSING and f"--revision {COMMIT}" in found.remedy
    with pytest.raises(DataError, match="hf download openai/gsm8k --repo-type dataset"):
        read_suite(load_suite(project.root / SUITES / "gsm8k.yaml"), seed=0)


def test_of_a_token_only_its_presence_is_reported(
    project: Workspace, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    assert (
        "yes; no token is set" in lines_of(list_suites(project.root), project.root)["gpqa-diamond"]
    )
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    lines = lines_of(list_suites(project.root), project.root)
    assert "yes; a token is set" in lines["gpqa-diamond"]
    assert "secret" not in "".join(lines.values())


def test_a_broken_and_an_unpinned_suite_are_reported(project: Workspace, cache: Path):
    folder = project.root / SUITES
    (folder / "broken.yaml").write_text("role: [\n")
    text = (folder / "math-500.yaml").read_text()
    lines = [line for line in text.splitlines(True) if not line.startswith("  revision")]
    (folder / "loose.yaml").write_text("".join(lines))
    listings = list_suites(project.root)
    found = lines_of(listings, project.root)
    assert "not valid" in found["broken"]
    assert [one.name for one in listings if "broken.yaml" in one.complaint] == ["broken"]
    assert "@not pinned" in found["loose"] and found["loose"].endswith("no: not pinned")


def test_a_profiles_suites_are_shown_as_it_sets_them(project: Workspace, cache: Path):
    assert list_used(project) == []
    text = project.profile_file.read_text()
    used = (
        "prepare:\n  suites: {advbench: {path: own/prompts.jsonl, prompts: 7, judge: mine, "
        "attacks: [many-shot, prefilled]}}\n"
    )
    project.profile_file.write_text(text.replace("prepare:\n", used, 1))
    (line,) = lines_of(list_used(project), project.root).values()
    assert line.endswith("yes") and "own/prompts.jsonl" in line and "mine" in line
    assert "many-shot, prefilled" in line
    done = invoke("suites", "--profile", "demo")
    assert done.returncode == 0 and "own/prompts.jsonl" in done.stdout
    project.profile_file.write_text(text.replace("prepare:\n", "prepare:\n  suites: {x: {}}\n", 1))
    with pytest.raises(ConfigError, match="unknown suite 'x'"):
        list_used(project)
    assert invoke("suites", "--profile", "demo").returncode == 2


def checked(workspace: Workspace, **uses) -> dict[str, Finding]:
    """Return what the doctor finds of these suites, by subject."""
    profile = load_profile(workspace.profile_file)
    prepare = profile.prepare.model_copy(
        update={"suites": {name: SuiteUse(**use) for name, use in uses.items()}}
    )
    examined = Examined.of(profile.model_copy(update={"prepare": prepare}), workspace)
    found = check_suites(examined)
    return {finding.subject: finding for finding in found}


def test_the_doctor_tells_what_a_profiles_suites_lack(
    project: Workspace, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert checked(project) == {}
    found = checked(project, strongreject={}, gsm8k={}, **{"gpqa-diamond": {}})
    file = found["suite strongreject"]
    assert file.state is State.MISSING
    assert file.message.endswith("/strongreject_dataset.csv is missing")
    assert file.remedy.startswith("curl -L -o data/raw/public/strongreject_dataset.csv https://")
    hub = found["suite gsm8k"]
    assert hub.state is State.WARNING and "hf download openai/gsm8k --repo-type" in hub.remedy
    gated = found["suite gpqa-diamond"]
    assert gated.state is State.MISSING and "no token is set" in gated.message
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert checked(project, **{"gpqa-diamond": {}})["suite gpqa-diamond"].state is State.WARNING
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert checked(project, gsm8k={})["suite gsm8k"].state is State.MISSING


def test_the_doctor_knows_a_pinned_file_from_another(project: Workspace, cache: Path):
    place = project.root / "data" / "raw" / "public" / "strongreject_dataset.csv"
    place.parent.mkdir(parents=True)
    place.write_text("category,source,forbidden_prompt\n")
    found = checked(project, strongreject={})["suite strongreject"]
    assert found.state is State.MISSING and "is pinned" in found.message
    own = {"path": "data/raw/public/strongreject_dataset.csv"}
    found = checked(project, strongreject=own)
    assert found["suites"].state is State.OK and found["suites"].message == "all 1 are here"


def test_a_suite_that_is_not_valid_is_left_to_another_check(project: Workspace, cache: Path):
    assert checked(project, nope={}) == {}
