"""What a search varies, and a trial on the random pair."""

from __future__ import annotations

import pytest

from components.core.errors import SafeReActError
from components.core.paths import Workspace
from components.core.storage import digest_folder
from components.core.vocabulary import Arm, Role
from components.evaluate.settings import EvaluateSettings
from components.studies.tune.places import InProcess, measure_references
from components.studies.tune.settings import TuneSettings
from components.studies.tune.trials import (
    REFERENCES,
    Bench,
    Setting,
    held,
    open_bench,
    search_space,
)
from components.train.methods import METHODS
from components.train.settings import FineTuning
from tests.evidence import teacher_figures
from tests.searches import SHIPPED, make_probe, make_profile, make_workspace

# --- what is searched ------------------------------------------------------------------------


def space_of(profile, probe, *, layers, method="safereact"):
    """Return the bounds around the settings that a method finds in a profile."""
    found = METHODS.find(method)
    return search_space(profile.tune, found, found.settings_of(profile.train), probe, layers)


@pytest.mark.parametrize(
    ("method", "held_by", "share", "layer_sets"),
    [
        ("safereact", "schedule", (0.2, 0.5), 4),
        ("distil", "retain_weight", (0.2, 0.6), 1),
        ("combined", "retain_weight", (0.2, 0.6), 4),
        ("sft", "retain", (0.2, 0.5), 1),
        ("rank-one", None, (0.0, 0.5), 1),
        ("circuit-breaker", None, (0.0, 0.5), 1),
    ],
)
def test_only_what_a_method_has_is_searched(method, held_by, share, layer_sets):
    profile = make_profile(train={"retain_weight": 1.5, "baseline_retain": 0.3})
    probe = make_probe(teacher_figures("base"), teacher_figures("reminder"))
    space = space_of(profile, probe, layers=4, method=method)
    assert space.held_by == held_by
    assert space.retain_share == pytest.approx(share)
    assert len(space.target_layers) == layer_sets
    assert space.teachers == (("base",) if method == "circuit-breaker" else ("base", "reminder"))
    assert (space.shipped.lr, space.shipped.steps) == (profile.train.lr, profile.train.steps)


def test_a_share_of_retained_rows_is_each_methods_own_setting():
    """Weights of retained rows beside those of harmful rows, worked by hand."""
    assert held("schedule", 0.4) == 1.25  # c grows to 0.8, 0.4 in the mean
    assert held("retain_weight", 0.2) == 0.25  # 0.2 of 0.8
    assert held("retain", 0.3) == 0.3
    for name in ("schedule", "retain_weight", "retain"):
        setting = SHIPPED.model_copy(update={"schedule": None, name: held(name, 0.4)})
        assert setting.retain_share == pytest.approx(0.4)
    assert SHIPPED.model_copy(update={"schedule": None}).retain_share is None
    sft = Setting(teacher="base", target_layers=(1,), lr=0.1, steps=9, retain=0.3)
    assert sft.changes()["train"] == {"lr": 0.1, "steps": 9, "baseline_retain": 0.3}


def test_a_setting_is_a_change_of_two_sections():
    assert SHIPPED.changes() == {
        "probe": {"teacher": "base", "target_layers": [1, 2, 3, 4]},
        "train": {"lr": 3e-3, "steps": 120, "schedule": 1.25},
    }


def test_the_retained_share_is_the_mean_weight_of_the_retained_rows():
    """Against the weights of all steps, as the training takes them."""
    from components.train.methods import SafeReAct
    from components.train.settings import TrainSettings

    method = SafeReAct(TrainSettings(steps=1000, schedule=1.25), (1,), 1)
    weights = [method.schedule(step) for step in range(1000)]
    assert SHIPPED.retain_share == pytest.approx(sum(weights) / 1000, abs=1e-3)
    assert SHIPPED.retain_share == 0.4


def test_the_bounds_lie_around_the_shipped_setting():
    probe = make_probe(
        teacher_figures("base"),
        teacher_figures("pruned", passed=False),
        teacher_figures("reminder"),
    )
    space = space_of(make_profile(train={"lr": 1e-3, "steps": 30}), probe, layers=12)
    assert space.shipped == Setting(
        teacher="base", target_layers=(1, 3), lr=1e-3, steps=30, schedule=1.5
    )
    assert space.teachers == ("base", "reminder")
    assert space.lr == pytest.approx((2e-4, 5e-3)) and space.steps == (15, 60)
    assert space.retain_share == (0.2, 0.5)
    # The shipped ones; then 2, 4 and 6 layers over all 12 and over the upper half.
    assert space.target_layers == (
        (1, 3),
        (6, 12),
        (9, 12),
        (3, 6, 9, 12),
        (8, 9, 11, 12),
        (2, 4, 6, 8, 10, 12),
        (7, 8, 9, 10, 11, 12),
    )


def test_layers_that_are_the_same_are_tried_once():
    space = space_of(make_profile(), make_probe(teacher_figures("base")), layers=4)
    assert space.target_layers == ((1, 3), (2, 4), (3, 4), (1, 2, 3, 4))


def test_a_shipped_setting_beyond_the_bounds_widens_them():
    section = TuneSettings(teachers=("reminder",), min_retain_share=0.3, max_retain_share=0.35)
    probe = make_probe(teacher_figures("base"), teacher_figures("reminder"))
    profile = make_profile(train={"lr": 0.9, "steps": 1, "schedule": 4}, tune=section)
    space = space_of(profile, probe, layers=4)
    assert space.teachers == ("base", "reminder")
    assert space.retain_share == (0.125, 0.35)
    assert space.lr == (0.18, 1.0) and space.steps == (1, 2)


def test_bounds_that_contradict_are_refused():
    with pytest.raises(ValueError, match=r"min_retain_share 0\.4 is above max_retain_share 0\.3"):
        TuneSettings(min_retain_share=0.4, max_retain_share=0.3)
    with pytest.raises(ValueError, match="prompts lacks a number for benign, reasoning"):
        TuneSettings(prompts={Role.HARMFUL: 9})


# --- running one -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, random_models, random_prompts) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("root"), random_models, random_prompts)


@pytest.fixture(scope="module")
def bench(workspace) -> Bench:
    return open_bench(make_profile(), workspace)


def test_a_trial_trains_under_its_setting_and_is_measured(bench, tmp_path):
    shipped = bench.space.shipped
    settings = {
        "shipped": shipped,
        "teacher": shipped.model_copy(update={"teacher": "reminder"}),
        "layers": shipped.model_copy(update={"target_layers": (2, 3)}),
        "lr": shipped.model_copy(update={"lr": 2e-2}),
        "steps": shipped.model_copy(update={"steps": 3}),
        "schedule": shipped.model_copy(update={"schedule": 1.0}),
    }
    adapters = {}
    for name, setting in settings.items():
        (tmp_path / name).mkdir()
        figures = bench.run(setting, tmp_path / name)
        assert {"harmful.either.complied", "benign.refused", "reasoning.correct"} <= figures.keys()
        assert {figure.n for figure in figures.values()} == {6}
        adapters[name] = digest_folder(tmp_path / name / "adapter")
    assert len(set(adapters.values())) == len(adapters), "a setting makes no difference"


def test_a_trial_of_the_shipped_setting_is_the_stage_train(bench, tmp_path):
    from components.train.stage import train

    section, parts = bench.profile.train, (bench.prompts, bench.models, bench.probe)
    (tmp_path / "stage").mkdir()
    adapter = train(section, *parts, seed=bench.profile.seed, out=tmp_path / "stage")
    bench.run(bench.space.shipped, tmp_path)
    assert digest_folder(tmp_path / "adapter") == adapter.digest


def test_a_trial_may_begin_from_a_methods_own_settings(workspace, tmp_path):
    profile = make_profile(train={"method": "sft", "steps": 2, "batch": 4})
    own = FineTuning(retain=0, lr=1e-2, steps=3)
    benches = {
        name: open_bench(profile, workspace, given)
        for name, given in {"own": own, "train": None}.items()
    }
    assert benches["own"].space.shipped.own == {"lr": 1e-2, "steps": 3, "retain": 0}
    assert benches["train"].space.shipped.own["steps"] == 2
    assert benches["own"].key != benches["train"].key
    bench = benches["own"]
    digests = []
    for number, retain in enumerate((0, 0.5)):
        (tmp_path / str(number)).mkdir()
        setting = bench.space.shipped.model_copy(update={"retain": retain})
        bench.run(setting, tmp_path / str(number))
        digests.append(digest_folder(tmp_path / str(number) / "adapter"))
    assert digests[0] != digests[1]


def test_the_references_are_the_two_models(bench):
    references = measure_references(bench, InProcess(bench))
    assert tuple(references) == REFERENCES == (Arm.BASE, Arm.POST_TRAINED)
    assert references[Arm.BASE].keys() == references[Arm.POST_TRAINED].keys()


def test_what_a_training_cannot_do_is_raised(workspace, tmp_path):
    bench = open_bench(make_profile(train={"max_prompt_tokens": 1}), workspace)
    with pytest.raises(SafeReActError, match="max_prompt_tokens = 1"):
        bench.run(bench.space.shipped, tmp_path)


def test_the_key_follows_what_the_figures_depend_on(workspace, bench):
    def key(**sections):
        return open_bench(make_profile(**sections), workspace).key

    assert key() == bench.key
    same = key(registration={"name": "other"}, gate={"policy": "lenient"}, description="other")
    assert same == bench.key
    changed = {
        key(seed=1),
        key(tune={"lr_factor": 3}),
        key(train={"steps": 5}),
        key(evaluate=EvaluateSettings(batch=8)),
    }
    assert len(changed) == 4 and bench.key not in changed
    make_probe(teacher_figures("base")).save(workspace.stage("probe"))
    assert key() != bench.key
    make_probe(teacher_figures("base"), teacher_figures("reminder")).save(workspace.stage("probe"))
    assert key() == bench.key
