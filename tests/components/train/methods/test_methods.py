"""Methods with nothing asked yet: one whole model in memory at a time."""

from __future__ import annotations

import weakref
from types import SimpleNamespace

import pytest

from components.core.errors import TrainingError
from components.core.paths import PROMPTS
from components.core.storage import write_rows
from components.core.vocabulary import Prompt, Role, Split
from components.lm.loading import load_model
from components.prepare.result import SuiteSet
from components.studies.baselines.settings import BaselinesSettings
from components.studies.baselines.stage import baselines
from components.train.data import TrainingData
from components.train.methods import open_method, train_adapter
from components.train.settings import CircuitBreaker, EarlyStopSettings, RankOne
from components.train.stage import train

EARLY = EarlyStopSettings(every=2, prompts=4, tokens=3)
BREAKER = CircuitBreaker(layers=(1, 2), tokens=6, steps=2, lr=1e-2)
RANK_ONE = RankOne(steps=2, lr=1e-2)
SETTINGS = {"rank-one": RANK_ONE, "circuit-breaker": BREAKER}


@pytest.fixture
def loaded(monkeypatch):
    """The models loaded so far, as weak references; whenever one is loaded none is alive."""
    models = []

    def load(folder, **options):
        alive = [place for place, model in enumerate(models) if model() is not None]
        assert not alive, f"models {alive} are in memory while number {len(models)} is loaded"
        model = load_model(folder, **options)
        models.append(weakref.ref(model))
        return model

    monkeypatch.setattr("components.train.teacher.load_model", load)
    return models


@pytest.fixture
def run(quick, random_prompts, random_models, make_probe, tmp_path):
    """A function that trains by a method, with a scratch of its own."""
    settings = quick.model_copy(update={"early_stop": EARLY, "steps": 2})

    def run(name: str):
        probe, scratch = make_probe(), tmp_path / f"{name}-scratch"
        data = TrainingData(settings, random_prompts, random_models, probe, 0, scratch)
        method = open_method(name, data, SETTINGS.get(name))
        return train_adapter(method, data, tmp_path / name)

    return run


# Loaded: who is asked (teacher, retained answers, validation), and the student that is trained.
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("safereact", 4),
        ("distil", 4),
        ("combined", 4),
        ("on-policy", 7),
        ("sft", 3),
        ("rank-one", 3),
        ("circuit-breaker", 3),
    ],
)
def test_no_two_models_are_in_memory(run, loaded, name, count):
    assert run(name).progress.taken == 2
    assert len(loaded) == count


def test_a_trained_student_is_gone_before_the_next_teacher_comes(run, loaded):
    run("sft")
    run("rank-one")
    assert len(loaded) == 6


def test_what_methods_share_is_no_part_of_their_cost(
    quick, random_prompts, random_models, make_probe, monkeypatch, tmp_path, loaded
):
    """Within its part each method loads its student, and circuit breakers what they alone ask."""
    costs = {}

    class Part(SimpleNamespace):
        def __enter__(self):
            costs[self.name] = -len(loaded)

        def __exit__(self, *_):
            costs[self.name] += len(loaded)

    monkeypatch.setattr("components.studies.baselines.stage.part", lambda name: Part(name=name))
    methods = ("sft", "circuit-breaker", "rank-one")
    section = BaselinesSettings(methods=methods, circuit_breaker=BREAKER, rank_one=RANK_ONE)
    settings = quick.model_copy(update={"baseline_steps": 2})
    arguments = (section, settings, random_prompts, random_models, make_probe())
    baselines(*arguments, seed=0, out=tmp_path)
    assert costs == {"sft": 1, "circuit-breaker": 2, "rank-one": 1}
    # Before: the teacher, the answers, and their states, which circuit breakers alone hold.
    assert len(loaded) == 3 + 4


def test_deepspeed_is_refused_before_a_model_is_loaded(
    quick, random_prompts, random_models, make_probe, monkeypatch, tmp_path, loaded
):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    given = (quick, random_prompts, random_models, make_probe())
    with pytest.raises(TrainingError, match=r"DeepSpeed.*FSDP.*docs/fsdp\.yaml"):
        train(*given, seed=0, out=tmp_path)
    with pytest.raises(TrainingError, match="DeepSpeed"):
        baselines(BaselinesSettings(), *given, seed=0, out=tmp_path)
    assert loaded == []


@pytest.mark.parametrize("split", [Split.TRAIN, Split.VALIDATION])
def test_prompts_that_a_split_lacks_are_missing_before_a_model_is_loaded(
    quick, random_prompts, random_models, make_probe, tmp_path, loaded, split
):
    lacking = (Role.HARMFUL, split)
    rows = [row for row in random_prompts.rows() if (row.role, row.split) != lacking]
    write_rows(tmp_path / PROMPTS, rows, Prompt)
    prompts = SuiteSet(**random_prompts.model_dump()).save(tmp_path)
    settings = quick.model_copy(update={"early_stop": EARLY})
    given = (settings, prompts, random_models, make_probe())
    missing = f"the {split} split has no harmful prompts"
    with pytest.raises(TrainingError, match=missing):
        train(*given, seed=0, out=tmp_path)
    with pytest.raises(TrainingError, match=missing):
        baselines(BaselinesSettings(), *given, seed=0, out=tmp_path)
    assert loaded == []
