"""The prompts of a diagnosis: files, everyday ones, and validation splits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.core.errors import ConfigError, DataError
from components.core.vocabulary import Role, Split
from components.evaluate.settings import EvaluateSettings
from components.studies.diagnose import prompts as module
from components.studies.diagnose.prompts import (
    Asked,
    diagnosis_plan,
    read_prompts,
    validation_prompts,
)

LICENCE = "LicenseRef-own"


def write(path: Path, *rows: dict[str, str]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def texts(asked: Asked, role: Role) -> list[str]:
    return sorted(prompt.text for prompt in asked.prompts if prompt.role is role)


def test_everyday_prompts_stand_in_for_roles_without_a_file(tmp_path):
    harmful = write(tmp_path / "harmful.jsonl", {"text": "one"}, {"text": "two"})
    asked = read_prompts({Role.HARMFUL: harmful}, {}, LICENCE)
    assert texts(asked, Role.HARMFUL) == ["one", "two"]
    assert len(texts(asked, Role.BENIGN)) > 100 and len(texts(asked, Role.REASONING)) > 50
    assert len(texts(asked, Role.BORDERLINE)) > 40
    assert [source.name for source in asked.sources] == [
        "harmful",
        "everyday benign",
        "everyday borderline",
        "everyday reasoning",
    ]
    assert {prompt.split for prompt in asked.prompts} == {Split.VALIDATION}


def test_own_files_replace_the_everyday_prompts_and_columns_are_those_named(tmp_path):
    files = {
        Role.HARMFUL: write(tmp_path / "h.jsonl", {"prompt": "one"}),
        Role.BENIGN: write(tmp_path / "b.jsonl", {"prompt": "hello"}),
        Role.REASONING: write(tmp_path / "r.jsonl", {"prompt": "1 + 1?", "gold": "2"}),
    }
    asked = read_prompts(files, {"text": "prompt", "answer": "gold"}, LICENCE)
    assert texts(asked, Role.BENIGN) == ["hello"]
    (problem,) = (prompt for prompt in asked.prompts if prompt.role is Role.REASONING)
    assert (problem.text, problem.answer) == ("1 + 1?", "2")


def test_rows_that_cannot_be_asked_are_set_aside_and_counted(tmp_path):
    harmful = write(
        tmp_path / "h.jsonl", {"text": "one"}, {"text": "One "}, {"text": ""}, {"text": "x" * 4001}
    )
    asked = read_prompts({Role.HARMFUL: harmful}, {}, LICENCE)
    assert texts(asked, Role.HARMFUL) == ["one"]
    own = asked.sources[0]
    assert (own.read, own.kept, own.quarantined) == (4, 1, 3)


def test_a_file_of_which_nothing_is_left_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no row is left"):
        read_prompts({Role.HARMFUL: write(tmp_path / "h.jsonl", {"text": ""})}, {}, LICENCE)


def test_harmful_prompts_have_to_be_given(tmp_path):
    with pytest.raises(ConfigError, match=r"--harmful FILE is missing.*--profile tiny"):
        read_prompts({Role.BENIGN: tmp_path / "b.jsonl"}, {}, LICENCE)


def test_so_do_benign_ones_where_the_everyday_ones_are_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROOT", tmp_path)
    harmful = write(tmp_path / "h.jsonl", {"text": "one"})
    with pytest.raises(ConfigError, match="--benign FILE is missing"):
        read_prompts({Role.HARMFUL: harmful}, {}, LICENCE)


def test_of_a_profile_only_validation_prompts_are_asked(random_prompts):
    asked = validation_prompts(random_prompts, "mine")
    known = {prompt.id for prompt in random_prompts.rows(split=Split.VALIDATION)}
    assert {prompt.id for prompt in asked.prompts} == known
    section = EvaluateSettings(prompts=dict.fromkeys(Role, 5), attacks=("persona",))
    plan = diagnosis_plan(section, asked, seed=0)
    asked_ids = {prompt.id for suite in plan.suites for prompt in suite.prompts}
    assert len(asked_ids) == 5 * len(Role) and asked_ids <= known
    assert [suite.attacks for suite in plan.suites] == [("persona",), (), (), ()]


def test_a_role_that_is_needed_has_to_be_there(random_prompts):
    whole = validation_prompts(random_prompts, "mine")
    asked = Asked([one for one in whole.prompts if one.role is not Role.BENIGN], whole.words)
    with pytest.raises(DataError, match="no benign prompts among the validation prompts"):
        diagnosis_plan(EvaluateSettings(), asked, seed=0)
