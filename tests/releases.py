"""Results of every stage in the right form, made of nothing, for what comes after the stages."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from components.chain import STAGES, dvc_name
from components.core import paths
from components.core.paths import BARS, FIGURES, POLICIES, REPORT, Workspace
from components.core.result import RateFigure
from components.core.storage import digest_file, digest_folder, write_json, write_text
from components.core.vocabulary import Arm, Role
from components.evaluate.arms import meet_champion
from components.evaluate.result import Champion, CutFigure, Evidence
from components.evaluate.rows import read_judged, write_judged
from components.gate.checks import GateInputs
from components.gate.decision import make_decision
from components.gate.overrides import read_overrides
from components.gate.policy import Policy
from components.gate.policy_files import load_policy
from components.gate.result import Conclusion, Decision, GateOutcome, Override
from components.judges.result import Usage
from components.judges.settings import RULES
from components.models.result import Models
from components.probe.result import Probe
from components.report.result import Report
from components.studies.baselines.result import Baseline, Baselines
from components.studies.compare.result import Comparison
from components.studies.undo.result import Tuned, Undo
from components.studies.withstand.result import (
    Ablation,
    SafetyRates,
    TunedRates,
    Undoing,
    Withstand,
)
from components.train.result import Adapter
from tests.evidence import (
    CONTRACT,
    DATA,
    OWN,
    judge_of,
    make_models,
    model_ref,
    profile_of,
    save_adapter,
    save_evidence,
    save_prompts,
)
from tests.profiles import plain_text
from tests.root import ROOT

NAMES = {"name": "demo-safety", "experiment": "safereact"}  # a registered model, an experiment
RULE = "refuses harmful requests"
SAFE, UNSURE = 95, 84  # of a hundred harmful prompts; the second does not decide the rule
POLICY = ROOT / "mlflow" / "policies" / "default.yaml"


def name_model(workspace: Workspace, name: str) -> Workspace:
    """Let a workspace's profile register as `name`; return the workspace."""
    text = workspace.profile_file.read_text()
    workspace.profile_file.write_text(text.replace(NAMES["name"], name))
    return workspace


def write_adapter(folder: Path, *, weight: float = 1.0) -> str:
    """Write a PEFT-like adapter with one weight and its contract; return the folder's digest."""
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    save_file({"w": np.full((2, 2), weight)}, folder / "adapter_model.safetensors")
    write_json(folder / "adapter_config.json", {"peft_type": "LORA", "r": 16, "lora_alpha": 16})
    write_json(folder / paths.CONTRACT, CONTRACT.model_dump(mode="json"))
    return digest_folder(folder)


# What a run records of itself, without what it wrote and when.
RECORDED: dict[str, Any] = {
    "seconds": 12.3,
    "processor_seconds": 20.0,
    "peak_memory_mib": 900,
    "machine": "a box",
    "parts": {},
    "versions": {"peft": "9"},
}


def write_result(
    stage: str,
    workspace: Workspace,
    *,
    accepted: bool = True,
    weight: float = 1.0,
    policy: Path = POLICY,
    overridden: date | None = None,
) -> None:
    """Write the result of one stage after those before it; `weight` makes another adapter, and
    `overridden` an adapter that is accepted by a person's word until that day."""
    folder = workspace.stage(stage)
    folder.mkdir(parents=True, exist_ok=True)
    makers = {
        "prepare": _prompts,
        "models": _models,
        "probe": _probe,
        "train": lambda w, f: _adapter(w, f, weight),
        "evaluate": lambda w, f: _evidence(w, f, UNSURE if overridden else SAFE),
        "gate": lambda w, f: _decision(w, f, accepted, policy, overridden),
        "report": _report,
        "baselines": _baselines,
        "compare": _comparison,
        "undo": _undo,
        "withstand": _withstand,
    }
    makers[stage](workspace, folder)


def write_all(workspace: Workspace, **changes: Any) -> Workspace:
    """Write the results of all stages and a lock file, and return the workspace; `changes` are
    those of `write_result`."""
    import shutil

    stages = {}
    for stage in STAGES:
        shutil.rmtree(workspace.stage(stage), ignore_errors=True)
        write_result(stage, workspace, **changes)
        md5 = digest_folder(workspace.stage(stage))[:32] + ".dir"
        stages[dvc_name(stage, workspace.profile)] = {"outs": [{"path": stage, "md5": md5}]}
    write_text(workspace.lock, json.dumps({"schema": "2.0", "stages": stages}))
    return workspace


def _prompts(_: Workspace, folder: Path) -> None:
    save_prompts(folder)


def _models(_: Workspace, folder: Path) -> None:
    make_models(lineage="made | up").save(folder)


def _probe(_: Workspace, folder: Path) -> None:
    Probe(
        layers=(),
        folded_by="topic",
        masks=(),
        pruning=(),
        teachers=(),
        check_tokens=4,
        teacher="base",
        reminder="",
        target_layers=(2, 3),
        calibration={},
        prompts=dict.fromkeys(Role, 2),
    ).save(folder)


def _adapter(_: Workspace, folder: Path, weight: float) -> None:
    digests = (write_adapter(folder / "adapter", weight=weight), "6" * 64)
    save_adapter(folder, digests, model_ref("post-trained"), tokens=5678)


def _evidence(workspace: Workspace, folder: Path, refused: int) -> None:
    adapter = Adapter.load(workspace.stage("train"))
    met = None
    if profile_of(workspace).evaluate.champion:
        models = Models.load(workspace.stage("models"))
        met = meet_champion(Champion.load(workspace.champion), adapter, models)
    save_evidence(workspace, folder, adapter, refused=refused, champion=met)


def _decision(
    workspace: Workspace, folder: Path, accepted: bool, policy: Path, overridden: date | None
) -> None:
    """Save the decision on the evidence; one that is not `accepted` contradicts it."""
    if overridden:
        _override(workspace, load_policy(policy), overridden)
    decision = decide_in(workspace, policy).save(folder)
    if not accepted and decision.accepted:
        rules = tuple(
            outcome.model_copy(update={"conclusion": Conclusion.FAIL, "threshold": 0.99})
            if outcome.rule == RULE
            else outcome
            for outcome in decision.rules
        )
        reasons = tuple(outcome.why for outcome in rules if outcome.rule == RULE)
        changes = {"outcome": GateOutcome.REJECTED, "rules": rules, "reasons": reasons}
        decision.model_copy(update=changes).save(folder)


def decide_in(workspace: Workspace, policy: Path = POLICY) -> Decision:
    """Return the gate's decision on what lies in a workspace."""
    inputs = GateInputs.in_workspace(workspace)
    return make_decision(load_policy(policy), read_overrides(workspace.overrides.parent), inputs)


def _override(workspace: Workspace, policy: Policy, until: date) -> None:
    evidence = workspace.stage("evaluate")
    override = Override(
        rule=RULE,
        adapter=Evidence.load(evidence).adapter,
        evidence=Evidence.digest_of(evidence),
        policy=policy.digest,
        who="ann",
        why="seen",
        signed=until - timedelta(days=9),
        until=until,
    )
    records = {"overrides": [override.model_dump(mode="json")]}
    write_json(workspace.overrides, records)  # JSON is YAML


def _report(workspace: Workspace, folder: Path) -> None:
    decision = Decision.load(workspace.stage("gate"))
    write_text(folder / REPORT, "<html></html>")
    write_json(folder / FIGURES, {"gate": str(decision.outcome)})
    write_json(folder / BARS, [])
    Report(
        digest=digest_file(folder / REPORT), adapter=decision.adapter, accepted=decision.accepted
    ).save(folder)


def _baselines(workspace: Workspace, folder: Path) -> None:
    adapter = Adapter.load(workspace.stage("train"))
    lines = (
        Baseline(arm="sft", digest="9" * 64, reason=None, steps=60, tokens=1234),
        Baseline(arm="safereact-pruned", digest=None, reason="it cannot teach"),
    )
    Baselines(
        base_model=adapter.base_model,
        data=DATA,
        contract=CONTRACT,
        method="safereact",
        forms=("served", "role-play"),
        arms=lines,
    ).save(folder)
    parts = {"sft": {"seconds": 7.4, "peak_memory_mib": 321}}
    write_json(workspace.run_record("baselines"), RECORDED | {"parts": parts})


def _comparison(workspace: Workspace, folder: Path) -> None:
    evidence = Evidence.load(workspace.stage("evaluate"))
    rows = read_judged(evidence.folder / paths.ROWS)[Arm.RESTORED]
    write_judged(folder / paths.ROWS, [replace(row, arm="sft") for row in rows])
    Comparison(
        evidence=Evidence.digest_of(evidence.folder),
        data=OWN,
        test_prompts=evidence.test_prompts,
        judges=evidence.judges,
        confidence=evidence.confidence,
        arms=(*evidence.arms, "sft"),
        method="safereact",
        teacher="base",
        trained_attacks=("role-play",),
        held_out_attacks=("persona", "prefilled"),
        cut={"harmful": {"sft": CutFigure(count=3, n=300)}},
        usage={"rubric": Usage(requests=1234, prompt_tokens=5678, cost=1.25)},
        rows=digest_file(folder / paths.ROWS),
        rates={**evidence.rates, "sft": evidence.rates[Arm.RESTORED]},
        differences=(),
        left_out={"safereact-pruned": "it cannot teach"},
    ).save(folder)


def _undo(workspace: Workspace, folder: Path) -> None:
    adapter = Adapter.load(workspace.stage("train"))
    Undo(
        base_model=adapter.base_model,
        adapters={Arm.RESTORED: adapter.digest, Arm.BASELINE: adapter.baseline_digest},
        data=DATA,
        contract=CONTRACT,
        rows=6,
        loss=dict.fromkeys((Arm.RESTORED, Arm.BASELINE), (2.0, 1.0)),
        tuned=tuple(
            Tuned(arm=arm, steps=steps, digest="a" * 64)
            for arm in (Arm.RESTORED, Arm.BASELINE)
            for steps in (10, 25)
        ),
    ).save(folder)


def _withstand(workspace: Workspace, folder: Path) -> None:
    adapter = Adapter.load(workspace.stage("train"))
    Withstand(
        adapter=adapter.digest,
        baseline=adapter.baseline_digest,
        data=OWN,
        test_prompts="b" * 64,
        judges={"harmful": judge_of(profile_of(workspace).evaluate, RULES, ()).name},
        usage={},
        confidence=0.95,
        undoings=(
            undoing(Arm.RESTORED, {0: 20, 10: 18, 25: 11}),
            undoing(Arm.BASELINE, {0: 20, 10: 11, 25: 10}),
        ),
        ablations=(
            Ablation(
                arm=Arm.RESTORED,
                direction_of="own",
                layer=2,
                tried=4,
                coherent=True,
                before=safety_rates(20),
                after=safety_rates(3),
            ),
        ),
    ).save(folder)


def undoing(arm: Arm, refused: dict[int, int]) -> Undoing:
    """Return an arm that refuses so many of 20 harmful prompts after so many steps."""
    points = (
        TunedRates(steps=steps, rates=safety_rates(count)) for steps, count in refused.items()
    )
    return Undoing(arm=arm, points=tuple(points))


def safety_rates(refused: int) -> SafetyRates:
    """Return a model that refuses so many of 20 harmful prompts and complies with the others."""
    return SafetyRates(
        harmful_refused=RateFigure.of(refused, 20, 0.95),
        harmful_complied=RateFigure.of(20 - refused, 20, 0.95),
        harmful_unparsed=RateFigure.of(0, 20, 0.95),
        benign_coherent=RateFigure.of(19, 20, 0.95),
        benign_unparsed=RateFigure.of(1, 20, 0.95),
        cut=CutFigure(count=1, n=40),
    )


def finished_profile(root: Path) -> Workspace:
    """Write a profile below `root` whose stages have run."""
    (root / "mlflow").mkdir()
    shutil.copy(ROOT / "mlflow" / "model_card.md.j2", root / "mlflow")
    shutil.copytree(ROOT / "mlflow" / "policies", root / POLICIES)
    (root / "profiles").mkdir()
    text = plain_text().replace("name: tiny-safety", f"name: {NAMES['name']}")
    (root / "profiles" / "demo.yaml").write_text(text)
    return write_all(Workspace(root, "demo"))
