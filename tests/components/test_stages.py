"""Running one stage: upstream results in, one folder out, nothing half-written."""

from __future__ import annotations

import pytest

from components import stages
from components.config import load_profile
from components.errors import StageError
from components.results import Models
from components.stages import TABLE, Stage, run_stage
from components.workspace import STAGES, open_workspace


@pytest.fixture
def workspace(tmp_path):
    (tmp_path / "profiles").mkdir()
    (tmp_path / "dvc.yaml").write_text("")
    (tmp_path / "profiles" / "mine.yaml").write_text(
        "seed: 7\n"
        "prepare: {sources: [{name: a, path: a.jsonl, licence: MIT}]}\n"
        "models: {kind: checkpoints, base: a, post_trained: b}\n"
        "registration: {name: mine}\n"
    )
    return open_workspace("mine", tmp_path)


def obtain(section, *upstream, seed, out):
    """A stage that hands on what it was given."""
    if section.lineage == "break":
        (out / "half").write_text("x")
        raise StageError("broke half-way")
    assert seed == 7
    (out / "heavy.bin").write_text("weights")
    return obtain.models.save(out)


def test_the_table_names_every_stage_once_and_in_order():
    assert tuple(TABLE) == STAGES
    for i, stage in enumerate(TABLE.values()):
        assert set(stage.upstream) <= set(STAGES[:i])


def test_a_stage_is_given_its_section_and_its_upstream(workspace, random_models, monkeypatch):
    obtain.models = random_models
    monkeypatch.setitem(stages.TABLE, "models", Stage("models", f"{__name__}:obtain", ()))
    profile = load_profile(workspace.profile_file)
    result = run_stage("models", profile, workspace)
    folder = workspace.stage("models")
    assert isinstance(result, Models)
    assert result.folder == folder
    assert sorted(p.name for p in folder.iterdir()) == ["heavy.bin", "models.json"]
    assert workspace.run_record("models").is_file()

    broken = profile.models.model_copy(update={"lineage": "break"})
    with pytest.raises(StageError, match="half-way"):
        run_stage("models", profile.model_copy(update={"models": broken}), workspace)
    assert sorted(p.name for p in folder.iterdir()) == ["heavy.bin", "models.json"]
    assert [p.name for p in folder.parent.iterdir() if p.name.startswith(".")] == []


def test_missing_upstream_is_named(workspace):
    with pytest.raises(StageError, match=r"manifest\.json is missing"):
        run_stage("models", load_profile(workspace.profile_file), workspace)
