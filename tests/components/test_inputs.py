"""What DVC watches of a profile is there, whether the profile is valid or not."""

from __future__ import annotations

import pytest

from components.chain import TABLE
from components.core.errors import ConfigError
from components.core.fingerprints import Code
from components.core.paths import Workspace, open_workspace
from components.core.storage import write_json
from components.inputs import load_settings, settings_of, write_inputs

VALID = (
    "prepare: {sources: [{name: a, path: a.jsonl, licence: MIT}]}\n"
    "models: {kind: checkpoints, base: a, post_trained: b}\n"
    "registration: {name: mine}\n"
)


@pytest.mark.parametrize("text", [VALID, f"{VALID}surprise: 1\n", "seed: x\n", ""])
def test_every_stage_finds_its_seed_and_its_sections(tmp_path, text):
    (tmp_path / "profiles").mkdir()
    (tmp_path / "dvc.yaml").write_text("")
    (tmp_path / "profiles" / "mine.yaml").write_text(text)
    workspace = open_workspace("mine", tmp_path)
    settings = settings_of(workspace)
    for stage in TABLE.values():
        assert {stage.seed, stage.name, *stage.settings} <= settings.keys()
    write_json(workspace.settings, settings)
    if text == VALID:
        assert load_settings(workspace).registration.name == "mine"
    else:
        with pytest.raises(ConfigError, match=r"mine\.yaml"):
            load_settings(workspace)


def test_a_profile_that_is_listed_by_hand_has_its_champions_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("components.inputs.Code", lambda _: Code())
    (tmp_path / "params.yaml").write_text("profiles: {mine: {}}\ncompared: {}\nattacked: {}\n")
    write_inputs(tmp_path)
    assert [path.name for path in Workspace(tmp_path, "mine").champion.iterdir()] == [".gitkeep"]
