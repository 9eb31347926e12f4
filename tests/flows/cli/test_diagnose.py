"""`safereact diagnose` in an empty folder: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.core.errors import ConfigError
from components.core.paths import DIAGNOSIS, DIAGNOSIS_PAGE, ROWS, Workspace
from components.core.storage import read_json, write_text
from components.core.vocabulary import Arm
from components.probe.result import Probe
from components.studies.diagnose.result import PairDiagnosis
from flows.cli import diagnosis as module
from flows.cli.diagnosis import print_diagnosis, tried_teachers
from tests.checkpoints import WORDS, write_checkpoint
from tests.diagnoses import make_diagnosis
from tests.evidence import teacher_figures
from tests.flows.conftest import invoke

WHOLE = {DIAGNOSIS, DIAGNOSIS_PAGE, ROWS}
ROLES = ("harmful", "benign", "reasoning", "borderline")


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """Two checkpoints, and files of prompts in their words."""
    folder = tmp_path_factory.mktemp("own")
    for seed, name in enumerate(("base", "tuned")):
        write_checkpoint(folder / name, seed=seed)
    for start, role in enumerate(ROLES):
        rows = [
            {"text": f"{WORDS[start]} {WORDS[5 + i]} {WORDS[20 + i]} {i} ?", "answer": str(i)}
            for i in range(6)
        ]
        (folder / f"{role}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def empty(tmp_path, monkeypatch) -> Path:
    """An empty working directory, in no repository."""
    monkeypatch.delenv("SAFEREACT_ROOT", raising=False)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    return tmp_path / "empty"


def options(own: Path, *, base: bool = True) -> list[str]:
    files = [f"--{role}={own / role}.jsonl" for role in ROLES]
    pair = [f"--base={own / 'base'}"] if base else []
    return [*pair, f"--post-trained={own / 'tuned'}", *files, "--tokens=6", "--attacks=prefilled"]


def test_an_empty_folder_is_enough(own, empty):
    done = invoke("diagnose", *options(own))
    assert done.returncode == 0, done.stderr
    assert "refuses harmful, answer begun" in done.stdout and "Where:" in done.stdout
    assert {path.name for path in empty.iterdir()} == {"diagnosis"}
    assert {path.name for path in (empty / "diagnosis").iterdir()} == WHOLE
    found = PairDiagnosis.load(empty / "diagnosis")
    assert found.prompts == dict.fromkeys(ROLES, 6)
    assert found.same_lineage and found.models[Arm.BASE].location == "base"
    for path in (empty / "diagnosis").iterdir():
        assert path.stat().st_mode & 0o077 == 0  # completions are nobody else's to read
    assert str(own) not in (empty / "diagnosis" / DIAGNOSIS).read_text()
    # An earlier diagnosis is replaced, here by one of the post-trained model alone.
    again = invoke("diagnose", *options(own, base=False), "--json")
    assert again.returncode == 0, again.stderr
    printed = json.loads(again.stdout)
    assert printed.pop("finding") == "no base"
    assert printed == read_json(empty / "diagnosis" / DIAGNOSIS)


def test_models_of_different_tokenizers_are_compared_by_what_they_answer(own, empty, tmp_path):
    write_checkpoint(tmp_path / "other", hidden=16, layers=2)
    done = invoke("diagnose", f"--base={tmp_path / 'other'}", *options(own, base=False))
    assert done.returncode == 0, done.stderr
    found = PairDiagnosis.load(empty / "diagnosis")
    assert found.differences and found.masking is None and "differ" in (found.not_located or "")


@pytest.mark.parametrize(
    ("words", "reported"),
    [
        ([], "--profile tiny"),
        (["--profile=tiny", "--base=x"], "leave out either"),
        (["--post-trained=nowhere"], "--post-trained: there is no folder"),
        (["--post-trained=OWN/tuned"], "--harmful FILE is missing"),
        (["--attacks=none,such", "--post-trained=OWN/tuned"], "is no attack"),
        (["--column=colour=x", "--post-trained=OWN/tuned"], "FIELD=NAME"),
        (["--out=OWN", "--post-trained=OWN/tuned"], "holds other files"),
        (["--out=.", "--post-trained=OWN/tuned"], "working directory"),
        (["--out=OWN/harmful.jsonl", "--post-trained=OWN/tuned"], "is a file"),
    ],
)
def test_what_cannot_be_meant_is_a_mistake_in_usage(own, empty, words, reported):
    done = invoke("diagnose", *(word.replace("OWN", str(own)) for word in words))
    assert done.returncode == 2
    assert reported in " ".join(done.stderr.split())
    assert list(empty.iterdir()) == [] and (own / "harmful.jsonl").is_file()


def test_what_cannot_be_read_is_one_message(own, empty, tmp_path):
    def fails(*words: str) -> str:
        done = invoke("diagnose", *words)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        return " ".join(done.stderr.split())

    given = [f"--harmful={own / 'harmful.jsonl'}"]
    assert "is missing" in fails(f"--post-trained={own / 'tuned'}", "--harmful=nowhere.jsonl")
    (tmp_path / "torn.jsonl").write_bytes(b'{"text": "\xff"}\n')
    torn = [f"--harmful={tmp_path / 'torn.jsonl'}"]
    assert "not UTF-8" in fails(f"--post-trained={own / 'tuned'}", *torn)
    (tmp_path / "no-model").mkdir()
    assert "config.json" in fails(f"--post-trained={tmp_path / 'no-model'}", *given)
    same = f"--base={own / 'tuned'}"
    assert "are the same checkpoint" in fails(same, f"--post-trained={own / 'tuned'}", *given)
    assert list(empty.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_found_before_anything_is_read(empty):
    words = ("--post-trained=.", "--harmful=nowhere.jsonl", "--out=/proc/nowhere/diagnosis")
    done = invoke("diagnose", *words)
    assert done.returncode == 1 and "/proc/nowhere" in done.stderr
    assert "nowhere.jsonl" not in done.stderr


def test_what_fails_half_way_leaves_the_earlier_diagnosis_as_it_was(own, empty, monkeypatch):
    (empty / "diagnosis").mkdir()
    write_text(empty / "diagnosis" / DIAGNOSIS, "earlier")

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("components.studies.diagnose.page.render", stop)
        assert invoke("diagnose", *options(own)).returncode == 130
    assert [path.name for path in (empty / "diagnosis").iterdir()] == [DIAGNOSIS]
    assert (empty / "diagnosis" / DIAGNOSIS).read_text() == "earlier"
    assert invoke("diagnose", *options(own)).returncode == 0
    assert {path.name for path in empty.iterdir()} == {"diagnosis"}


def test_what_a_failed_probe_said_of_its_teachers_is_taken_from_its_log(tmp_path):
    workspace = Workspace(tmp_path, "mine")
    assert tried_teachers(workspace) == ((), ())
    said = (
        "reading\n"
        "probe: no candidate teacher has passed the check, so there is nothing to train towards:\n"
        "  base: refuses 3% of harmful\n  pruned: refuses 0% of harmful\n"
        "Mend the teacher\nERROR: failed\n"
    )
    write_text(workspace.log("probe"), said)
    expected = ("base: refuses 3% of harmful", "pruned: refuses 0% of harmful")
    assert tried_teachers(workspace) == ((), expected)
    write_text(workspace.log("probe"), "teacher: base: refuses 99% of harmful\n")
    assert tried_teachers(workspace) == ((), ())


def test_teachers_of_another_state_of_the_profile_are_not_shown(tmp_path, monkeypatch):
    workspace = Workspace(tmp_path, "mine")
    probe = Probe(
        layers=(),
        folded_by="topic",
        masks=(),
        pruning=(),
        teachers=(teacher_figures("base"),),
        check_tokens=4,
        teacher="base",
        reminder="",
        target_layers=(1,),
        prompts={},
        calibration={},
    ).save(workspace.stage("probe"))
    for stale, expected in ((set(), probe.teachers), ({"probe"}, ())):
        monkeypatch.setattr(module, "stale_stages", lambda *_, stale=stale: stale)
        assert tried_teachers(workspace) == (expected, ())


def test_the_terminal_names_what_was_tried_and_nothing_steers_it(capsys, tmp_path):
    counts = {"harmful.refused": (100, 0, 100)}
    found = make_diagnosis(counts, teachers=(teacher_figures("pruned"),), tried=("x\x1b[2J",))
    print_diagnosis(found, tmp_path)
    printed = capsys.readouterr().out
    assert "tried as teacher: pruned" in printed and "\x1b[2J" not in printed
    assert DIAGNOSIS_PAGE in printed and "−100.0 [−100.0, −92.6]" in printed


def test_rows_without_a_diagnosis_are_somebodys_own(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ROWS).write_text("mine")
    with pytest.raises(ConfigError, match=f"other files, such as {ROWS}"):
        module.check_folder(tmp_path / "out")
