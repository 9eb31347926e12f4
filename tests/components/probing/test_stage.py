"""The whole stage on a random pair: files, repeatability, and each way in which it stops."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
import torch
from safetensors.torch import load_file

from components.config import Probe
from components.errors import ConfigError, DataError, TeacherError
from components.lm.loading import describe_checkpoint
from components.lm.masks import load_masks
from components.probing.stage import probe
from components.records import Role
from components.results import Models
from components.results import Probe as Diagnosis
from components.storage import digest_folder
from tests.checkpoints import write_checkpoint

WAIVED = {"min_harmful_refused": 0, "max_benign_refused": 1, "min_coherent": 0}
SMALL = {
    "prompts": 8,
    "folds": 4,
    "pruning": {"q": 0.1, "p": 0.05, "calibration": 4, "tokens": 6},
    "check_prompts": 4,
    "check_tokens": 4,
    "batch": 4,
}


@pytest.fixture(scope="module")
def diagnosis(random_prompts, random_models, tmp_path_factory):
    out = tmp_path_factory.mktemp("probe")
    return probe(Probe(**SMALL, check=WAIVED), random_prompts, random_models, seed=0, out=out)


def test_the_result_is_complete(diagnosis):
    assert Diagnosis.load(diagnosis.folder) == diagnosis
    assert [layer.layer for layer in diagnosis.layers] == [1, 2, 3]
    assert all(layer.drift_harmful is not None for layer in diagnosis.layers)
    assert [f.teacher for f in diagnosis.teachers] == ["base", "pruned", "reminder"]
    assert all((f.harmful_n, f.benign_n, f.coherent_n) == (4, 4, 8) for f in diagnosis.teachers)
    assert diagnosis.prompts == {Role.HARMFUL: 8, Role.BENIGN: 8, Role.REASONING: 8}
    assert diagnosis.calibration["own reasoning"] == 4
    assert sum(diagnosis.calibration.values()) == 8
    assert diagnosis.target_layers[-1] == 3


def test_directions_are_unit_vectors(diagnosis):
    directions = load_file(diagnosis.folder / "directions.safetensors")
    assert set(directions) == {"base", "post_trained"}
    for direction in directions.values():
        assert direction.shape == (3, 32)
        torch.testing.assert_close(direction.norm(dim=-1), torch.ones(3))
    cosine = (directions["base"] * directions["post_trained"]).sum(dim=-1).tolist()
    assert [layer.direction_cosine for layer in diagnosis.layers] == pytest.approx(cosine)


def test_masks_are_as_large_as_the_result_says(diagnosis):
    masks = load_masks(diagnosis.folder / "masks.safetensors")
    assert len(masks) == 3 * 7
    removed = sum(int(mask.sum()) for mask in masks.values())
    assert removed == sum(size.removed for size in diagnosis.masks) > 0
    assert all(size.removed <= 0.1 * size.weights for size in diagnosis.masks)


def test_plots_are_svg_without_a_date(diagnosis):
    plots = sorted((diagnosis.folder / "plots").iterdir())
    assert [plot.name for plot in plots] == ["auc.svg", "drift.svg", "masks.svg", "teachers.svg"]
    for plot in plots:
        root = ET.parse(plot).getroot()
        assert root.get("width") == "480pt"  # 640 pixels
        assert "dc:date" not in plot.read_text()


def test_the_same_inputs_give_the_same_bytes(diagnosis, random_prompts, random_models, tmp_path):
    probe(Probe(**SMALL, check=WAIVED), random_prompts, random_models, seed=0, out=tmp_path)
    assert digest_folder(tmp_path) == digest_folder(diagnosis.folder)


def test_no_passing_teacher_stops_the_stage(random_prompts, random_models, tmp_path):
    with pytest.raises(TeacherError, match="no candidate teacher has passed") as raised:
        probe(Probe(**SMALL), random_prompts, random_models, seed=0, out=tmp_path)
    for kind in ("base", "pruned", "reminder"):
        assert f"{kind}: refuses 0% of harmful (n=4)" in str(raised.value)
    assert raised.value.exit_code == 1
    assert not list(tmp_path.iterdir())


def test_a_pair_of_other_lineage_is_told_so(random_prompts, random_models, tmp_path):
    other = write_checkpoint(tmp_path / "other", hidden=16, layers=2)
    models = Models(
        base=describe_checkpoint(other, location=str(other), where="local"),
        post_trained=random_models.post_trained,
        lineage="none",
        same_lineage=False,
    )
    models._folder = random_models.folder
    (tmp_path / "out").mkdir()
    section = Probe(**SMALL, check=WAIVED, target_layers=(3, 1))
    found = probe(section, random_prompts, models, seed=0, out=tmp_path / "out")
    assert [f.teacher for f in found.teachers] == ["pruned", "reminder"]
    assert found.target_layers == (1, 3)
    assert found.calibration["base refusals"] == 0
    assert {layer.drift_harmful for layer in found.layers} == {None}
    assert [layer.auc_base is None for layer in found.layers] == [False, False, True]
    assert not (tmp_path / "out" / "plots" / "drift.svg").exists()
    with pytest.raises(TeacherError, match="base model cannot teach"):
        section = Probe(**SMALL, teacher="base")
        probe(section, random_prompts, models, seed=0, out=tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"target_layers": (2, 9)}, ConfigError, "distinct layers from 1 to 3"),
        ({"teachers": ("base",), "teacher": "pruned"}, ConfigError, "not among probe.teachers"),
        ({"folds": 13, "prompts": 12}, DataError, "12 harmful and 12 benign"),
    ],
)
def test_wrong_settings(random_prompts, random_models, tmp_path, settings, error, message):
    with pytest.raises(error, match=message):
        probe(Probe(**{**SMALL, **settings}), random_prompts, random_models, seed=0, out=tmp_path)
    assert not list(tmp_path.iterdir())
