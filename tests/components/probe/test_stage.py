"""The whole stage on a random pair: files, repeatability, and each way in which it stops."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
import torch
from safetensors.torch import load_file

from components.core.errors import ConfigError, DataError, StageError, TeacherError
from components.core.storage import digest_folder, read_rows
from components.core.vocabulary import Role
from components.lm.loading import describe_checkpoint, describe_weights
from components.lm.masks import load_masks
from components.models.result import Models
from components.probe.result import Probe as Diagnosis
from components.probe.settings import ProbeSettings
from components.probe.stage import probe
from components.train.teacher import open_teacher
from tests.checkpoints import write_checkpoint
from tests.components.probe.test_answers import R1_LIKE
from tests.extensions import install
from tests.root import ROOT

PLOTS = ("auc", "drift", "masks", "positions", "pruning", "teachers")
ARMS = ("set-difference", "set-difference, reminded", "uniform", "magnitude-matched")
WAIVED = {"min_harmful_refused": 0, "max_benign_refused": 1, "min_coherent": 0}
SMALL = {
    "prompts": 8,
    "folds": 4,
    "pruning": {
        "shares": {"matrix": [0.1, 0.05], "row": [0.05, 0.1]},
        "prompts": 3,
        "calibration": 4,
        "tokens": 6,
    },
    "check_prompts": 4,
    "check_tokens": 4,
    "batch": 4,
}


@pytest.fixture(scope="module")
def diagnosis(random_prompts, random_models, tmp_path_factory):
    out = tmp_path_factory.mktemp("probe")
    return probe(
        ProbeSettings(**SMALL, check=WAIVED), random_prompts, random_models, seed=0, out=out
    )


def test_the_result_is_complete(diagnosis):
    assert Diagnosis.load(diagnosis.folder) == diagnosis
    assert [layer.layer for layer in diagnosis.layers] == [1, 2, 3]
    assert all(layer.drift is not None for layer in diagnosis.layers)
    assert diagnosis.folded_by == "topic"
    every = ["base", "pruned", "reminder", "pruned-reminder"]
    assert [f.teacher for f in diagnosis.teachers] == every
    for f in diagnosis.teachers:
        assert (f.harmful_refused.n, f.benign_refused.n, f.coherent.n) == (4, 4, 8)
    assert diagnosis.prompts == {Role.HARMFUL: 8, Role.BENIGN: 8, Role.REASONING: 8}
    assert diagnosis.calibration["own reasoning"] == 4
    assert sum(diagnosis.calibration.values()) == 8
    assert (diagnosis.target_layers[-1], diagnosis.check_tokens) == (3, 4)


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
    removed = sum(mask.removed for mask in masks.values())
    assert removed == sum(size.removed for size in diagnosis.masks) > 0
    chosen, reminded = (
        next(point for point in diagnosis.pruning if point.chosen and point.by == by)
        for by in ARMS[:2]
    )
    assert removed == chosen.removed
    own = load_masks(diagnosis.folder / "masks-reminded.safetensors")
    assert sum(mask.removed for mask in own.values()) == reminded.removed
    for size in diagnosis.masks:
        assert size.removed + size.shared == size.top <= chosen.share * size.weights


def test_the_sweep_has_every_point_with_its_interval(diagnosis):
    points = [(point.by, point.scope, point.share) for point in diagnosis.pruning]
    assert points == [
        ("nothing", None, None),
        *(
            (by, scope, share)
            for scope in ("matrix", "row")
            for share in (0.05, 0.1)
            for by in ARMS
        ),
    ]
    for point in diagnosis.pruning:
        assert (point.harmful_refused.n, point.benign_refused.n, point.coherent.n) == (3, 3, 6)
        assert point.coherent.low <= point.coherent.rate <= point.coherent.high


def test_tables_say_what_the_result_and_the_plots_say(diagnosis):
    rows = read_rows(diagnosis.folder / "pruning.parquet")
    assert len(rows) == 3 * len(diagnosis.pruning)
    for row, point in zip(rows[::3], diagnosis.pruning, strict=True):
        assert (row["by"], row["measure"]) == (point.by, "harmful_refused")
        assert (row["removed"], row["rate"]) == (point.removed, point.harmful_refused.rate)
        assert (row["scope"], row["chosen"]) == (point.scope, point.chosen)
    sizes = read_rows(diagnosis.folder / "masks.parquet")
    assert [row["layer"] for row in sizes] == [layer for layer in (1, 2, 3) for _ in range(7)]
    assert sum(row["removed"] for row in sizes) == sum(m.removed for m in diagnosis.masks)
    positions = read_rows(diagnosis.folder / "positions.parquet")
    last = [row for row in positions if (row["segment"], row["position"]) == ("prompt", -1)]
    assert [(row["model"], row["role"], row["layer"], row["n"]) for row in last] == [
        (model, role, layer, 3)
        for model in ("base", "post-trained")
        for role in ("harmful", "benign")
        for layer in (1, 2, 3)
    ]


def test_nothing_is_left_of_the_stored_states(diagnosis):
    assert sorted(path.name for path in diagnosis.folder.iterdir()) == [
        "directions.safetensors",
        "masks-reminded.safetensors",
        "masks.parquet",
        "masks.safetensors",
        "plots",
        "positions.parquet",
        "probe.json",
        "pruning.parquet",
    ]


def test_plots_are_svg_without_a_date(diagnosis):
    plots = sorted((diagnosis.folder / "plots").iterdir())
    assert [plot.name for plot in plots] == [f"{name}.svg" for name in PLOTS]
    for plot in plots:
        root = ET.parse(plot).getroot()
        assert root.get("width") == "480pt"  # 640 pixels
        assert "dc:date" not in plot.read_text()


@pytest.mark.slow  # a second probe
def test_the_same_inputs_give_the_same_bytes(diagnosis, random_prompts, random_models, tmp_path):
    probe(ProbeSettings(**SMALL, check=WAIVED), random_prompts, random_models, seed=0, out=tmp_path)
    assert digest_folder(tmp_path) == digest_folder(diagnosis.folder)


def test_no_passing_teacher_stops_the_stage(random_prompts, random_models, tmp_path):
    with pytest.raises(TeacherError, match="no candidate teacher has passed") as raised:
        probe(ProbeSettings(**SMALL), random_prompts, random_models, seed=0, out=tmp_path)
    for kind in ("base", "pruned", "reminder", "pruned-reminder"):
        assert f"{kind}: refuses 0% of harmful (n=4)" in str(raised.value)
    assert raised.value.exit_code == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow  # a second probe
def test_a_model_that_opens_its_thought_is_calibrated_on_its_own_reminded_refusals(
    random_prompts, tmp_path
):
    """Of another lineage than its base, whose refusals are in other tokens."""
    folders = {"base": {"layers": 2, "hidden": 16}, "student": {"template": R1_LIKE}}
    refs = {
        name: describe_checkpoint(
            write_checkpoint(tmp_path / name, **given), location=str(tmp_path / name), where="local"
        )
        for name, given in folders.items()
    }
    assert refs["student"].contract.opens_thought
    models = Models(
        base=refs["base"], post_trained=refs["student"], lineage="none", same_lineage=False
    )
    models._folder = tmp_path
    (tmp_path / "out").mkdir()
    # Whatever a random model writes counts as a refusal.
    rules = {"refusal_patterns": ["[^ ]"]}
    section = ProbeSettings(**SMALL, check=WAIVED, rules=rules, teachers=["pruned"])
    found = probe(section, random_prompts, models, seed=0, out=tmp_path / "out")
    assert found.calibration == {
        "own reasoning": 4,
        "base refusals": 0,
        "reminded refusals": 4,
        "reference refusals": 0,
        "plain refusals": 0,
    }


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
    section = ProbeSettings(**SMALL, check=WAIVED, target_layers=(3, 1))
    found = probe(section, random_prompts, models, seed=0, out=tmp_path / "out")
    assert [f.teacher for f in found.teachers] == ["pruned", "reminder", "pruned-reminder"]
    assert found.target_layers == (1, 3)
    assert found.calibration["base refusals"] == 0
    assert all(layer.drift is None for layer in found.layers)
    assert [layer.auc_base is None for layer in found.layers] == [False, False, True]
    assert not (tmp_path / "out" / "plots" / "drift.svg").exists()
    with pytest.raises(TeacherError, match="base model cannot teach"):
        section = ProbeSettings(**SMALL, teacher="base")
        probe(section, random_prompts, models, seed=0, out=tmp_path / "out")


@pytest.mark.slow  # a second probe
def test_the_teacher_in_context_reads_the_best_of_the_pool(random_prompts, random_models, tmp_path):
    """A pair whose base is withheld: nothing but the post-trained model and what is said to it."""
    pool = {"one": "please do not", "two": "sorry can not help", "three": "what is that"}
    section = ProbeSettings(
        **SMALL, check=WAIVED, teachers=("context",), contexts={"pool": pool, "prompts": 2}
    )
    found = probe(section, random_prompts, random_models, seed=0, out=tmp_path)
    assert found.teacher == "context"
    assert {f.context: f.text for f in found.contexts} == pool
    assert [f.round for f in found.contexts] == [2, 2, 1]  # three on 2 prompts, two on all 4
    assert Diagnosis.load(tmp_path) == found
    with open_teacher(random_models, found) as teacher:
        assert teacher.preamble == found.contexts[0].text
        assert teacher.reword("open a jar") == f"{found.contexts[0].text}\n\nopen a jar"


@pytest.mark.slow  # a second probe
def test_the_vector_is_tried_at_every_scale_and_taught_at_the_best(
    random_prompts, random_models, tmp_path
):
    ancestor = write_checkpoint(tmp_path / "ancestor", seed=7)
    own = random_models.folder
    models = random_models.model_copy(
        update={"ancestor": describe_weights(ancestor, location=str(ancestor), where="local")}
    )
    models._folder = own
    (tmp_path / "out").mkdir()
    section = ProbeSettings(
        **SMALL, check=WAIVED, teachers=("reminder", "vector"), vector_scales=(1, 0.5, 2)
    )
    found = probe(
        section.model_copy(update={"teacher": "vector"}),
        random_prompts,
        models,
        seed=0,
        out=tmp_path / "out",
    )
    assert sorted(figures.scale for figures in found.scales) == [0.5, 1, 2]
    assert all(figures.harmful_refused.n == 3 for figures in found.scales)
    shifted = weight_of(own / "base") - weight_of(ancestor)
    expected = weight_of(own / "post-trained") + found.scales[0].scale * shifted
    with open_teacher(models, found) as teacher:
        torch.testing.assert_close(teacher.model.model.norm.weight.data, expected)
    with pytest.raises(StageError, match="no vector"), open_teacher(random_models, found):
        pass
    with pytest.raises(ConfigError, match=r"models\.ancestor"):
        probe(section, random_prompts, random_models, seed=0, out=tmp_path / "out")


def weight_of(folder):
    return load_file(folder / "model.safetensors")["model.norm.weight"]


def test_masking_is_measured_where_the_base_refuses(random_prompts, random_models, tmp_path):
    """Everything that is written counts as a refusal here, so nothing is lost."""
    rules = {"refusal_patterns": ["."]}
    section = ProbeSettings(**SMALL, check=WAIVED, teachers=("base",), rules=rules)
    found = probe(section, random_prompts, random_models, seed=0, out=tmp_path)
    masking = found.masking
    assert (masking.asked.count, masking.alone.n) == (3, 3)
    assert [t.layer for t in masking.transfer] == [1, 2, 3]
    assert {one.kind for one in masking.interventions} >= {"patch", "add"}
    assert (masking.finding, Diagnosis.load(tmp_path)) == ("kept", found)
    ET.parse(tmp_path / "plots" / "masking.svg")


@pytest.mark.slow  # a second probe
def test_masking_may_be_left_out(random_prompts, random_models, tmp_path):
    rules = {"refusal_patterns": ["."]}
    section = ProbeSettings(**SMALL, check=WAIVED, teachers=("base",), rules=rules, masking=None)
    found = probe(section, random_prompts, random_models, seed=0, out=tmp_path)
    assert found.masking is None
    assert not (tmp_path / "plots" / "masking.svg").exists()


def test_without_a_teacher_in_context_none_is_searched(diagnosis):
    assert (diagnosis.contexts, diagnosis.scales) == ((), ())
    assert diagnosis.masking is None  # the random base refuses nothing
    assert diagnosis.means().context is None


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"target_layers": (2, 9)}, ConfigError, "distinct layers from 1 to 3"),
        ({"teachers": ("base",), "teacher": "pruned"}, ConfigError, "not among probe.teachers"),
        ({"folds": 13, "prompts": 12}, DataError, "12 harmful and 12 benign"),
        (
            {"pruning": {"shares": {"row": [0.01]}, "calibration": 2, "tokens": 2}},
            ConfigError,
            "none of them removes a weight",
        ),
    ],
)
def test_wrong_settings(random_prompts, random_models, tmp_path, settings, error, message):
    with pytest.raises(error, match=message):
        probe(
            ProbeSettings(**{**SMALL, **settings}),
            random_prompts,
            random_models,
            seed=0,
            out=tmp_path,
        )
    assert not list(tmp_path.iterdir())


def test_the_teacher_of_the_page_is_checked_chosen_and_opened(
    random_prompts, random_models, tmp_path, monkeypatch
):
    """The class that docs/extending.md shows, in a package of its own."""
    page = (ROOT / "docs" / "extending.md").read_text().partition("## A teacher")[2]
    code = page.partition("```python\n")[2].partition("```")[0]
    (tmp_path / "site").mkdir()
    install(tmp_path / "site", monkeypatch, kind="teachers", name="doubled", code=code)
    (tmp_path / "out").mkdir()
    section = ProbeSettings(
        **SMALL, check=WAIVED, teachers=("reminder", "doubled"), teacher="doubled"
    )
    found = probe(section, random_prompts, random_models, seed=0, out=tmp_path / "out")
    assert [f.teacher for f in found.teachers] == ["reminder", "doubled"]
    assert found.teacher == "doubled"
    with open_teacher(random_models, found) as teacher:
        assert teacher.preamble == section.reminder
        changed = teacher.model.model.layers[0]._forward_hooks
        assert len(changed) == 1
    assert not changed
