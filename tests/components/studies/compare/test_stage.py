"""The stage on the random pair: other methods beside the four arms, on the same prompts."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from components.core.errors import EvidenceError
from components.core.paths import FINISHED, ROWS
from components.core.storage import resumable_folder
from components.core.vocabulary import OWN_ARMS, Arm, Prompted, Role
from components.evaluate import plan as plans
from components.evaluate.result import Evidence
from components.evaluate.rows import read_judged
from components.evaluate.settings import EvaluateSettings
from components.evaluate.stage import evaluate
from components.judges.settings import RulesSettings
from components.models.result import Models
from components.prepare.result import SuiteSet
from components.probe.result import Probe
from components.studies.baselines.result import Baseline, Baselines
from components.studies.compare.result import Comparison
from components.studies.compare.settings import CompareSettings
from components.studies.compare.stage import compare, split_attacks
from tests.adapters import write_adapter
from tests.components.evaluate.killing import kill_midway

SETTINGS = EvaluateSettings(
    prompts=dict.fromkeys(Role, 6),
    max_new_tokens=dict.fromkeys(Role, 6),
    batch=8,
    forced_thought=True,
)
REMINDED = CompareSettings(before="please", after="help .", edits={})
PROBE = Probe.model_construct(teacher="base", reminder="do not help with that .")


@pytest.fixture(scope="module")
def evidence(tmp_path_factory, random_prompts, random_models, random_adapter):
    out = tmp_path_factory.mktemp("evaluate")
    return evaluate(SETTINGS, random_prompts, random_models, random_adapter, seed=3, out=out)


@pytest.fixture(scope="module")
def baselines(tmp_path_factory, random_prompts, random_models):
    folder = tmp_path_factory.mktemp("baselines")
    checkpoint = random_models.folder / random_models.post_trained.location
    digest = write_adapter(folder / "sft", checkpoint, seed=21, zero=False)
    return Baselines(
        base_model=random_models.post_trained.digest,
        data=random_prompts.digest_of_prompts,
        contract=random_models.post_trained.contract,
        method="safereact",
        forms=("served", "role-play"),
        arms=(
            Baseline(arm="sft", digest=digest, reason=None, parameters=1, steps=1),
            Baseline(arm="safereact-pruned", digest=None, reason="refuses 0 of 12"),
        ),
    ).save(folder)


def compare_in(out: str, prompts: str, models: str, evidence: str, baselines: str) -> None:
    """Compare as the stages do; what the killed process runs, too."""
    with resumable_folder(Path(out), "key") as scratch:
        compare(
            REMINDED,
            SETTINGS,
            SuiteSet.load(Path(prompts)),
            Models.load(Path(models)),
            PROBE,
            Evidence.load(Path(evidence)),
            Baselines.load(Path(baselines)),
            seed=3,
            out=scratch,
        )


@pytest.fixture
def run(random_prompts, random_models, evidence, baselines, tmp_path):
    def stage(settings=SETTINGS, seed=3, **changes):
        return compare(
            REMINDED,
            settings,
            random_prompts,
            random_models,
            PROBE,
            evidence,
            changes.get("baselines", baselines),
            seed=seed,
            out=tmp_path,
        )

    return stage


def test_every_method_stands_beside_the_arms(run, evidence):
    found = run()
    asked = {Prompted.REMINDER, Prompted.SELF_REMINDER, "sft"}
    assert found.rates.keys() == {*OWN_ARMS, *asked}
    for arm in OWN_ARMS:
        assert found.rates[arm] == evidence.rates[arm]
    assert found.arms == (*OWN_ARMS, "reminder", "self-reminder", "sft")
    rows = read_judged(found.folder / ROWS)
    assert rows.keys() == asked
    ids = {tuple(row.prompt_id for row in own) for own in rows.values()}
    ids |= {tuple(r.prompt_id for r in own) for own in read_judged(evidence.folder / ROWS).values()}
    assert len(ids) == 1, "not the same prompts"
    pairs = {(d.arm, d.against) for d in found.differences}
    assert pairs == {(m, Arm.POST_TRAINED) for m in asked} | {(Arm.RESTORED, m) for m in asked}
    assert found.left_out == {"safereact-pruned": "refuses 0 of 12"}
    assert {suite: set(arms) for suite, arms in found.cut.items()} == dict.fromkeys(
        found.judges, asked
    )
    assert Comparison.load(found.folder) == found


def test_the_methods_are_at_work(run, evidence):
    """Each of them changes what the post-trained model writes, and no two alike."""
    rows = read_judged(run().folder / ROWS)
    rows[Arm.POST_TRAINED] = read_judged(evidence.folder / ROWS)[Arm.POST_TRAINED]
    texts = {tuple((row.thought, row.answer) for row in own) for own in rows.values()}
    assert len(texts) == 4


def test_attacks_are_told_apart_by_whether_training_saw_them(random_prompts):
    attacked = SETTINGS.model_copy(update={"attacks": ("persona", "role-play", "prefilled")})
    plan = plans.test_plan(attacked, random_prompts, seed=3)
    assert split_attacks(plan, ("served", "role-play")) == {
        "trained_attacks": ("role-play",),
        "held_out_attacks": ("persona", "prefilled"),
    }


def test_other_prompts_or_another_judge_are_refused(run):
    with pytest.raises(EvidenceError, match="test prompts differ"):
        run(seed=4)
    rules = RulesSettings(refusal_patterns=("never",))
    with pytest.raises(EvidenceError, match="judge of the suite harmful differs"):
        run(settings=SETTINGS.model_copy(update={"rules": rules}))


def test_adapters_of_other_models_or_data_and_changed_ones_are_refused(run, baselines):
    def changed(**update):
        copy = baselines.model_copy(update=update)
        copy._folder = baselines.folder
        return copy

    with pytest.raises(EvidenceError, match="baselines' model differ"):
        run(baselines=changed(base_model="0" * 64))
    with pytest.raises(EvidenceError, match="baselines' data differ"):
        run(baselines=changed(data="1" * 64))
    line = baselines.arms[0].model_copy(update={"digest": "2" * 64})
    with pytest.raises(EvidenceError, match="adapter sft differ"):
        run(baselines=changed(arms=(line,)))


def test_a_baseline_has_an_adapter_or_a_reason():
    with pytest.raises(ValueError, match="either an adapter or a reason"):
        Baseline(arm="sft", digest=None, reason=None)
    with pytest.raises(ValueError, match="either an adapter or a reason"):
        Baseline(arm="sft", digest="0", reason="none")


@pytest.mark.slow  # in a process of its own
def test_a_killed_comparison_goes_on(
    tmp_path, run, random_prompts, random_models, evidence, baselines, caplog
):
    undisturbed = run()
    inputs = [str(r.folder) for r in (random_prompts, random_models, evidence, baselines)]
    store = tmp_path / ".killed.partial" / FINISHED
    before = kill_midway(store, 9, __name__, "compare_in", tmp_path / "killed", *inputs)
    assert 9 <= before < 3 * 2 * 4 * 6
    assert not (tmp_path / "killed").exists()

    with caplog.at_level(logging.INFO):
        compare_in(str(tmp_path / "killed"), *inputs)
    assert any(f"going on after {before} finished" in message for message in caplog.messages)
    assert Comparison.load(tmp_path / "killed").model_dump() == undisturbed.model_dump()
    left = {path.name for path in (tmp_path / "killed").iterdir()}
    assert left == {Comparison.FILE, ROWS}
