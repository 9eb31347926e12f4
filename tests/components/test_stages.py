"""Running one stage: upstream results in, one folder out, nothing half-written."""

from __future__ import annotations

import shutil

import pytest

from components.chain import DATA_SEED, TABLE, Stage
from components.core.errors import StageError, TeacherError
from components.core.paths import RUNS, open_workspace
from components.evaluate.result import Champion, Evidence
from components.evaluate.settings import EvaluateSettings
from components.models.result import Models
from components.prepare.result import PromptSet, SuiteSet
from components.profile import load_profile
from components.stages import dependencies, run_stage
from tests.releases import write_result


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
    return obtain.models.model_copy().save(out)


def put(monkeypatch, function, name="models", **row):
    """Let a stage do something else."""
    monkeypatch.setattr(f"components.{name}.stage.{name}", function)
    monkeypatch.setitem(TABLE, name, Stage(name, TABLE[name].result, **row))


def test_a_stage_takes_the_results_of_stages_before_it():
    for i, stage in enumerate(TABLE.values()):
        assert set(stage.upstream) <= set(list(TABLE)[:i])


def test_what_draws_prompts_has_a_seed_of_its_own(workspace, random_models, monkeypatch):
    def told(section, *, seed, out):
        return told.models.model_copy(update={"lineage": str(seed)}).save(out)

    told.models = random_models
    profile = load_profile(workspace.profile_file).model_copy(update={"data_seed": 5})
    put(monkeypatch, told)
    assert run_stage("models", profile, workspace).lineage == "7"
    put(monkeypatch, told, seed=DATA_SEED)
    assert run_stage("models", profile, workspace).lineage == "5"
    put(monkeypatch, told, seed=DATA_SEED, resumes=True)
    assert run_stage("models", profile, workspace).lineage == "5"


def test_a_training_seed_changes_no_prompt_that_is_asked():
    drawing = {name for name, stage in TABLE.items() if stage.seed == DATA_SEED}
    assert drawing == {"prepare", "evaluate", "gate", "report", "compare", "withstand"}


def test_a_stage_is_given_its_section_and_its_upstream(workspace, random_models, monkeypatch):
    obtain.models = random_models
    put(monkeypatch, obtain)
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


def test_without_a_teacher_the_diagnosis_is_named(workspace, monkeypatch):
    def fail(section, *, seed, out):
        raise TeacherError("no candidate teacher has passed the check")

    put(monkeypatch, fail)
    with pytest.raises(TeacherError, match=r"has passed.*\n`safereact diagnose --profile mine`"):
        run_stage("models", load_profile(workspace.profile_file), workspace)


def test_what_a_copy_leaves_unfinished_is_taken_up_by_the_next(
    workspace, random_models, monkeypatch, tmp_path
):
    """DVC runs an experiment in a copy of the repository, and the copy passes away."""
    seen = []

    def half(section, *, seed, out):
        seen.append(sorted(path.name for path in out.iterdir() if path.suffix))
        (out / "first.bin").write_text("x")
        if len(seen) == 1:
            raise StageError("broke half-way")
        return random_models.model_copy().save(out)

    put(monkeypatch, half, resumes=True)
    monkeypatch.setenv(RUNS, str(tmp_path / "runs"))
    copy = tmp_path / "copy"
    shutil.copytree(workspace.root, copy, ignore=shutil.ignore_patterns("copy"))
    profile = load_profile(workspace.profile_file)
    with pytest.raises(StageError, match="half-way"):
        run_stage("models", profile, workspace)
    here = open_workspace("mine", copy)
    run_stage("models", profile, here)
    assert seen == [[], ["first.bin"]]
    assert (here.stage("models") / "first.bin").is_file()
    assert not workspace.stage("models").exists()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["models.json"]


def receive(section, prompts, *, seed, out):
    """A stage that keeps what it was given."""
    receive.prompts = prompts
    return receive.models.model_copy().save(out)


@pytest.mark.parametrize(("tests", "kind"), [(False, PromptSet), (True, SuiteSet)])
def test_only_a_stage_that_tests_is_given_test_prompts(
    workspace, random_models, random_prompts, monkeypatch, tests, kind
):
    receive.models = random_models
    put(monkeypatch, receive, upstream=("prepare",), tests=tests)
    shutil.copytree(random_prompts.folder, workspace.stage("prepare"))
    run_stage("models", load_profile(workspace.profile_file), workspace)
    assert type(receive.prompts) is kind
    assert receive.prompts.rows() == random_prompts.rows()


@pytest.fixture
def interrupted(workspace, random_models, monkeypatch):
    """Run a training once, which is interrupted, in the place of `models`; return the profile."""

    def run(training):
        training.models = random_models
        put(monkeypatch, training, trains=True)
        profile = load_profile(workspace.profile_file)
        with pytest.raises(KeyboardInterrupt):
            run_stage("models", profile, workspace)
        return profile

    return run


def learn(section, *, seed, out):
    """A stage that is interrupted the first time and tells the second what it found."""
    found = (out / "half").exists()
    (out / "half").write_text("x")
    if not found:
        raise KeyboardInterrupt
    (out / "half").unlink()
    return learn.models.model_copy().save(out)


@pytest.mark.parametrize("seed", [7, 8], ids=["the same", "another seed"])
def test_a_stage_that_trains_goes_on_where_it_was_interrupted(workspace, interrupted, seed):
    profile = interrupted(learn)
    again = profile.model_copy(update={"seed": seed})
    if seed == profile.seed:
        run_stage("models", again, workspace)
        assert [p.name for p in workspace.stage("models").iterdir()] == ["models.json"]
    else:
        with pytest.raises(KeyboardInterrupt):
            run_stage("models", again, workspace)


def save_and_stop(section, *, seed, out):
    """A training that is interrupted once it has saved its result, and never begins again."""
    assert not (out / Models.FILE).exists()
    save_and_stop.models.model_copy().save(out)
    raise KeyboardInterrupt


def test_a_training_that_was_interrupted_when_it_was_done_is_not_repeated(
    workspace, random_models, interrupted
):
    profile = interrupted(save_and_stop)
    assert run_stage("models", profile, workspace).post_trained == random_models.post_trained
    assert [p.name for p in workspace.stage("models").iterdir()] == [Models.FILE]


def test_what_decides_is_in_the_key_and_what_does_not_is_not(random_models, random_prompts):
    guard = {"kind": "wildguard", "model": "a/guard", "revision": "0" * 40}
    rubric = {"kind": "rubric", "model": "a-model"}
    judges = {"guard": guard, "rubric": rubric}

    def key(seed=0, upstream=(random_prompts, random_models), code="a", **changes):
        settings = {"judges": {name: {**one} for name, one in judges.items()}}
        for path, value in changes.items():
            *place, last = path.split("__")
            part = settings
            for name in place:
                part = part[name]
            part[last] = value
        section = EvaluateSettings.model_validate(settings)
        return dependencies([section], [seed], upstream, code=code)

    same = key()
    # What an error's remedy asks for: whoever follows it keeps what was finished.
    for name, value in (
        ("judges__guard__batch", 1),
        ("judges__rubric__max_requests", 5),
        ("judges__rubric__concurrency", 1),
        ("judges__rubric__requests_a_minute", 7),
        ("judges__rubric__timeout", 1.5),
        ("judges__rubric__attempts", 2),
        ("judges__rubric__completion_price", 3.0),
        ("batch", 3),
    ):
        assert key(**{name: value}) == same, name
    for name, value in (
        ("judges__guard__max_characters", 5),
        ("judges__guard__revision", "1" * 40),
        ("judges__rubric__model", "another"),
        ("judges__rubric__temperature", 1.0),
        ("judged_by", {"harmful": "guard"}),
        ("confidence", 0.9),
    ):
        assert key(**{name: value}) != same, name
    assert key(seed=1) != same
    assert key(upstream=(random_prompts,)) != same
    assert key(code="b") != same


def test_missing_upstream_is_named(workspace):
    with pytest.raises(StageError, match=r"manifest\.json is missing"):
        run_stage("models", load_profile(workspace.profile_file), workspace)


def face(section, champion=None, *, seed, out):
    """A stage that hands on whom it met."""
    face.met = champion
    return face.evidence.model_copy().save(out)


def test_a_stage_faces_the_champion_only_where_its_section_says_so(workspace, monkeypatch):
    for name in ("prepare", "train", "evaluate"):
        write_result(name, workspace)
    face.evidence = Evidence.load(workspace.stage("evaluate"))
    put(monkeypatch, face, "evaluate", champion=True)
    profile = load_profile(workspace.profile_file)
    run_stage("evaluate", profile, workspace)
    assert face.met is None

    measured = profile.evaluate.model_copy(update={"champion": True})
    profile = profile.model_copy(update={"evaluate": measured})
    with pytest.raises(StageError, match=r"champion\.json is missing.*champion --profile mine"):
        run_stage("evaluate", profile, workspace)
    champion = Champion(name="mine", released=None).save(workspace.champion)
    run_stage("evaluate", profile, workspace)
    assert face.met == champion
