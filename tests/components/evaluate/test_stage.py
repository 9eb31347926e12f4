"""The stage on the random pair with random adapters: four arms, same prompts, same bytes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import shutil

import pytest

from components.core.errors import EvidenceError, ModelError, SafeReActError
from components.core.paths import ADAPTER, FINISHED, METRICS, ROWS
from components.core.storage import read_rows
from components.core.vocabulary import OWN_ARMS, Arm, Outcome, Role
from components.evaluate.plan import sample
from components.evaluate.recount import recount_evidence
from components.evaluate.result import CutFigure, Evidence
from components.evaluate.settings import EvaluateSettings
from components.evaluate.stage import evaluate
from components.train.result import Adapter
from tests.checkpoints import TEMPLATE, write_checkpoint
from tests.root import ROOT


def section(**changes):
    settings = {
        "prompts": {"harmful": 8, "borderline": 5, "benign": 8, "reasoning": 100},
        "max_new_tokens": dict.fromkeys(Role, 8),
        "batch": 8,
        "forced_thought": True,
    }
    return EvaluateSettings.model_validate({**settings, **changes})


@pytest.fixture(scope="module")
def evidence(tmp_path_factory, random_prompts, random_models, random_adapter):
    out = tmp_path_factory.mktemp("evaluate")
    return evaluate(section(), random_prompts, random_models, random_adapter, seed=3, out=out)


def test_every_arm_answers_the_same_prompts(evidence):
    rows = read_rows(evidence.folder / ROWS)
    asked = {}
    for row in rows:
        asked.setdefault((row["arm"], row["form"]), []).append(row["prompt_id"])
    assert set(asked) == {(arm, form) for arm in OWN_ARMS for form in ("served", "forced_thought")}
    assert len({tuple(ids) for ids in asked.values()}) == 1
    assert len(rows) == 8 * (8 + 5 + 8 + 12)  # reasoning has 12, all are used
    assert {row["outcome_answer"] for row in rows} <= {"refused", "complied", "neither"}
    forced = [row for row in rows if row["form"] == "forced_thought"]
    assert all(row["thought"] is not None for row in forced)
    assert all((row["correct"] is None) == (row["role"] != "reasoning") for row in rows)


def test_evidence_names_what_it_is_about(evidence, random_prompts, random_models, random_adapter):
    assert evidence.adapter == random_adapter.digest
    assert evidence.models["base"] == random_models.base.digest
    assert evidence.models["restored"] == random_models.post_trained.digest
    assert evidence.data == random_prompts.digest
    assert evidence.contract == random_models.post_trained.contract
    assert set(evidence.rates) == set(OWN_ARMS)
    for rates in evidence.rates.values():
        for role in Role:
            shares = [rates[f"{role}.{outcome}"].rate for outcome in Outcome]
            assert sum(shares) == pytest.approx(1)
        assert rates["harmful.refused"].n == 8
        assert rates["reasoning.correct"].n == 12
        assert rates["benign.forced_thought.think"].rate == 1
    assert evidence.roles == {role.value: role for role in Role}
    assert set(evidence.judges) == set(evidence.roles)
    asked = {(shift.arm, shift.suite, shift.form) for shift in evidence.lengths}
    assert len(asked) == len(evidence.lengths) == 3 * 4 * 2
    assert all(shift.against is Arm.POST_TRAINED for shift in evidence.lengths)
    assert all(d.p_holm >= d.p_value for d in evidence.differences)
    assert Evidence.load(evidence.folder) == evidence


def test_the_adapters_are_at_work(evidence):
    rows = read_rows(evidence.folder / ROWS)
    texts = {
        arm: [(r["thought"], r["answer"]) for r in rows if r["arm"] == arm] for arm in OWN_ARMS
    }
    assert len({tuple(texts[arm]) for arm in OWN_ARMS}) == 4


def test_an_adapter_of_noughts_changes_nothing(
    tmp_path, random_prompts, random_models, zero_adapter
):
    found = evaluate(section(), random_prompts, random_models, zero_adapter, seed=3, out=tmp_path)
    assert found.rates[Arm.RESTORED] == found.rates[Arm.POST_TRAINED] == found.rates[Arm.BASELINE]
    rows = read_rows(tmp_path / ROWS)
    texts = {arm: [(r["answer"], r["tokens"]) for r in rows if r["arm"] == arm] for arm in OWN_ARMS}
    assert texts["restored"] == texts["post-trained"] == texts["sft-baseline"]
    assert texts["base"] != texts["post-trained"]
    same = [d for d in found.differences if Arm.BASE not in (d.arm, d.against)]
    assert same
    assert all(d.p_value == 1 and d.low < 0 < d.high for d in same)
    settled = [d for d in same if not d.highest]
    assert settled and all((d.gained, d.lost) == (0, 0) for d in settled)
    # Answers that are missing in both arms may differ either way, for all that is known.
    assert all(d.difference == -d.most for d in same)


def test_same_seed_same_bytes_and_batches_do_not_matter(
    tmp_path, evidence, random_prompts, random_models, random_adapter
):
    evaluate(section(batch=3), random_prompts, random_models, random_adapter, seed=3, out=tmp_path)
    for name in (METRICS, ROWS):
        assert (tmp_path / name).read_bytes() == (evidence.folder / name).read_bytes()


def test_metrics_are_finite_json_without_paths(evidence):
    document = json.loads((evidence.folder / METRICS).read_text())
    figures = [f for rates in document["rates"].values() for f in rates.values()]
    figures += [figure["highest"] for figure in figures if figure["highest"]]
    numbers = [n for figure in figures for n in figure.values() if isinstance(n, (int, float))]
    assert all(math.isfinite(number) for number in numbers)
    assert str(evidence.folder.parent) not in json.dumps(document)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"base_model": "f" * 64}, "adapter's model differs: f{64}"),
        ({"data": "f" * 64}, "adapter's data differs: f{64}"),
        ({"digest": "f" * 64}, "adapter's folder holds differs: f{64}"),
        ({"baseline_digest": "f" * 64}, "baseline's folder holds differs: f{64}"),
    ],
)
def test_another_adapter_is_refused(
    tmp_path, random_prompts, random_models, random_adapter, change, complaint
):
    other = random_adapter.model_copy(update=change)
    other._folder = random_adapter.folder
    with pytest.raises(EvidenceError, match=complaint):
        evaluate(section(), random_prompts, random_models, other, seed=0, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_contract_is_refused(tmp_path, random_prompts, random_models, random_adapter):
    contract = random_adapter.contract.model_copy(update={"template": "0" * 64})
    other = random_adapter.model_copy(update={"contract": contract})
    other._folder = random_adapter.folder
    with pytest.raises(EvidenceError, match="adapter's prompt contract differs"):
        evaluate(section(), random_prompts, random_models, other, seed=0, out=tmp_path)


def test_a_changed_adapter_file_is_refused(tmp_path, random_prompts, random_models, random_adapter):
    folder = tmp_path / "train"
    shutil.copytree(random_adapter.folder, folder)
    weights = folder / ADAPTER / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(EvidenceError, match="adapter's folder holds differs"):
        evaluate(
            section(), random_prompts, random_models, Adapter.load(folder), seed=0, out=tmp_path
        )


def test_sample_depends_on_seed_and_prompts_only(random_prompts):
    rows = random_prompts.own_test()
    sizes = {Role.HARMFUL: 5, Role.BENIGN: 5}
    one = sample(rows, sizes, 0)
    assert one == sample(rows[::-1], sizes, 0)
    assert one != sample(rows, sizes, 1)
    assert [p.role for p in one] == [Role.HARMFUL] * 5 + [Role.BENIGN] * 5
    more = sample(rows, {**sizes, Role.REASONING: 7}, 0)
    assert more[:10] == one


def test_roles_may_be_missing_but_not_harmful_or_benign(random_prompts):
    rows = random_prompts.own_test()
    sizes = dict.fromkeys(Role, 5)
    some = [row for row in rows if row.role in (Role.HARMFUL, Role.BENIGN)]
    assert {p.role for p in sample(some, sizes, 0)} == {Role.HARMFUL, Role.BENIGN}
    for needed in (Role.HARMFUL, Role.BENIGN):
        with pytest.raises(EvidenceError, match=f"no {needed} test prompt"):
            sample([row for row in rows if row.role is not needed], sizes, 0)
        with pytest.raises(EvidenceError, match="asks for 0"):
            sample(rows, {role: 5 for role in Role if role is not needed}, 0)
    with pytest.raises(EvidenceError):
        sample([dataclasses.replace(row, role=Role.REASONING) for row in rows], sizes, 0)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"calibration": "data/calibration/gone.jsonl"}, "gone.jsonl cannot be read"),
        ({"judges": {"mine": {"kind": "rubric", "model": "x"}}}, "SAFEREACT_JUDGE_URL does not"),
        ({"judges": {"mine": {"kind": "wildguard", "model": "data"}}}, r"config\.json is missing"),
    ],
)
def test_what_would_stop_the_judges_is_told_before_any_arm_is_asked(
    tmp_path, monkeypatch, random_prompts, random_models, random_adapter, changes, told
):
    monkeypatch.setenv("SAFEREACT_JUDGE_URL", "http://127.0.0.1:9/v1")
    judged_by = {"harmful": "mine"} if "judges" in changes else {}
    settings = section(judged_by=judged_by, **changes)
    with pytest.raises(SafeReActError, match=told):
        evaluate(settings, random_prompts, random_models, random_adapter, seed=0, out=tmp_path)
    assert (tmp_path / FINISHED).read_bytes() == b""


def test_thoughts_that_were_cut_off_leave_figures_open(evidence, random_prompts, random_models):
    """Eight tokens close no thought that the prompt opened."""
    rows = [row for row in read_rows(evidence.folder / ROWS) if row["arm"] == Arm.RESTORED]
    missing = [
        row
        for row in rows
        if (row["suite"], row["form"]) == ("harmful", "forced_thought")
        if not row["finished"] and not row["answer"]
    ]
    rate = evidence.rates[Arm.RESTORED]["harmful.forced_thought.refused"]
    assert missing and rate.open == len(missing)
    assert rate.low <= rate.rate < rate.most <= rate.high
    unfinished = sum(
        not row["finished"]
        for row in rows
        if (row["suite"], row["form"]) == ("reasoning", "served")
    )
    assert evidence.rates[Arm.RESTORED]["reasoning.correct"].open == unfinished > 0
    recount_evidence(evidence, section(), random_prompts, random_models, seed=3, root=ROOT)


SAMPLED = {
    "prompts": {"harmful": 4, "borderline": 2, "benign": 4, "reasoning": 3},
    **{"samples": 3, "temperature": 0.9, "top_p": 0.9, "top_k": 20, "system": "be brief"},
}


def test_own_prompts_are_sampled_alike_whatever_the_batch(
    tmp_path, random_prompts, random_models, random_adapter
):
    found = []
    for batch in (8, 3):
        settings = section(batch=batch, attacks=["prefilled"], **SAMPLED)
        inputs = (random_prompts, random_models, random_adapter)
        (out := tmp_path / str(batch)).mkdir()
        found.append(evaluate(settings, *inputs, seed=3, out=out))
    for name in (METRICS, ROWS):
        assert len({(one.folder / name).read_bytes() for one in found}) == 1
    evidence = found[0]
    assert (evidence.sampling, evidence.system) == (settings.sampling, "be brief")
    rows = read_rows(evidence.folder / ROWS)
    assert len(rows) == 4 * 3 * (2 * (4 + 2 + 4 + 3) + 4)  # two forms, and one attack
    texts = {}
    for row in rows:
        place = row["arm"], row["form"], row["prompt_id"]
        texts.setdefault(place, set()).add((row["thought"], row["answer"]))
    assert sum(len(samples) > 1 for samples in texts.values()) > len(texts) / 2
    for metric in ("harmful.refused", "harmful.prefilled.complied"):
        rate = evidence.rates[Arm.RESTORED][metric]
        assert (rate.n, rate.samples) == (4, 12)
    assert all(d.n <= 4 for d in evidence.differences)  # of prompts
    again = section(attacks=["prefilled"], **SAMPLED | {"temperature": 0.8})
    with pytest.raises(EvidenceError, match=r"sampling temperature is stated as 0\.9"):
        recount_evidence(evidence, again, *inputs[:2], seed=3, root=ROOT)
    recount_evidence(evidence, settings, *inputs[:2], seed=3, root=ROOT)


def test_a_system_prompt_that_a_template_drops_is_told_before_anything_is_asked(
    tmp_path, random_prompts, random_models, random_adapter
):
    drops = TEMPLATE.replace("in messages %}", "in messages if m.role != 'system' %}")
    folder = write_checkpoint(tmp_path / "base", template=drops)
    base = random_models.base.model_copy(update={"location": str(folder), "where": "local"})
    models = random_models.model_copy(update={"base": base})
    models._folder = random_models.folder
    with pytest.raises(ModelError, match=r"chat template in .*base.* has no place for the system"):
        evaluate(
            section(system="be brief"), random_prompts, models, random_adapter,
            seed=3, out=tmp_path / "out",
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_evidence_is_bound_to_its_rows_and_says_what_was_cut(evidence):
    rows = evidence.folder / ROWS
    assert evidence.rows == hashlib.sha256(rows.read_bytes()).hexdigest() == evidence.rows_now()
    n = {"harmful": 8, "borderline": 5, "benign": 8, "reasoning": 12}
    # Two forms; the rules see all of a text.
    assert evidence.cut == {
        suite: dict.fromkeys(OWN_ARMS, CutFigure(count=0, n=2 * prompts))
        for suite, prompts in n.items()
    }
