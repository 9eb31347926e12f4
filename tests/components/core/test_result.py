"""Results are found again as they were saved, and a broken one is named."""

from __future__ import annotations

import pytest

from components.chain import load_result
from components.core.errors import StageError
from components.core.storage import digest_file
from components.core.vocabulary import Role, Split
from components.models.result import Models
from components.prepare.result import PromptSet


def test_a_result_comes_back_with_its_folder(random_models):
    again = load_result("models", random_models.folder)
    assert again == random_models
    assert again.folder == random_models.folder
    assert Models.digest_of(random_models.folder) == digest_file(
        random_models.folder / "models.json"
    )


def test_prompts_are_read_by_split_and_role(random_prompts):
    assert len(random_prompts.rows()) == 144
    rows = random_prompts.rows(split=Split.TEST, role=Role.REASONING)
    assert len(rows) == 12
    assert {(row.split, row.role) for row in rows} == {(Split.TEST, Role.REASONING)}
    assert all(row.answer is not None for row in rows)


def test_a_missing_or_foreign_file_is_named(tmp_path):
    with pytest.raises(StageError, match=r"manifest\.json is missing"):
        PromptSet.load(tmp_path)
    (tmp_path / "manifest.json").write_text('{"rows": 3}')
    with pytest.raises(StageError, match=r"manifest\.json is not a PromptSet"):
        PromptSet.load(tmp_path)
    with pytest.raises(StageError, match="is missing"):
        Models.digest_of(tmp_path)


def test_a_result_that_was_never_saved_has_no_folder(random_models):
    with pytest.raises(StageError, match="never saved"):
        _ = (
            random_models.model_copy(update={"lineage": "x"})
            .model_validate(random_models.model_dump())
            .folder
        )
