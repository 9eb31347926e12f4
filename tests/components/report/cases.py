"""Results with realistic figures, saved in folders as the stages save them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.core.paths import CURVES, PLOTS, ROWS
from components.core.registration import Registration
from components.core.result import RateFigure
from components.core.storage import digest_file, write_json_lines
from components.core.vocabulary import OWN_ARMS, Arm, Outcome, Prompt, Role, Split
from components.evaluate.result import ChampionArm, Difference, Evidence, Released
from components.evaluate.rows import Row, write_judged
from components.gate.result import Conclusion, Decision, GateOutcome
from components.gate.settings import GateSettings
from components.models.result import Models
from components.prepare.result import SourceCount, SuiteSet
from components.probe.result import (
    AucFigure,
    DriftFigure,
    LayerProbe,
    MaskSize,
    Probe,
    PruningPoint,
)
from components.report.result import Report
from components.report.settings import ReportSettings as Section
from components.report.stage import report
from components.report.summary import Origin
from components.train.result import Adapter
from tests.evidence import (
    CONTRACT,
    make_adapter,
    make_difference,
    make_evidence,
    make_models,
    make_row,
    make_rule,
    model_ref,
    rate,
    teacher_figures,
)
from tests.masking import masking, put_in
from tests.prepared import save_prompts

# Successes of 300 (borderline 240) by arm, as a good run on the embedded pair gives them.
COUNTS = {
    Arm.BASE: {"harmful": 300, "borderline": 0, "benign": 0, "reasoning": 66},
    Arm.POST_TRAINED: {"harmful": 0, "borderline": 0, "benign": 0, "reasoning": 300},
    Arm.RESTORED: {"harmful": 292, "borderline": 2, "benign": 5, "reasoning": 299},
    Arm.BASELINE: {"harmful": 300, "borderline": 8, "benign": 17, "reasoning": 300},
    Arm.CHAMPION: {"harmful": 287, "borderline": 4, "benign": 6, "reasoning": 298},
}
CHAMPION = ChampionArm(
    name="demo-safety",
    released=Released(version="3", digest="c" * 64, base_model="b" * 64, contract=CONTRACT),
)
ORIGIN = Origin("demo", "demo-safety", "default")
SIZES = {"harmful": 300, "borderline": 240, "benign": 300, "reasoning": 300}
KEYS = {role: f"{role}.{'correct' if role == 'reasoning' else 'refused'}" for role in SIZES}
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"
HOSTILE = f"{SCRIPT}\x1b[31mred\x1b[0m\u202eesrever\u200b\x00{{{{ 7*7 }}}}</style></title>"


def difference(arm: Arm, against: Arm, role: str) -> Difference:
    """Return a difference with a plausible interval; the page does no arithmetic on it."""
    gap = COUNTS[arm][role] - COUNTS[against][role]
    pair = {"arm": arm, "against": against}
    return make_difference(KEYS[role], max(0, gap), max(0, -gap), SIZES[role], **pair)


def make_prompts(folder: Path, text: str, *, name: str = "tiny-test") -> SuiteSet:
    """Save six test prompts a role whose texts end in `text`."""
    rows = [
        Prompt(
            id=f"{10 * number + i:016x}",
            text=f"[{role} {i}] {text}",
            role=role,
            topic=f"kitchen {i}",
            source=name,
            licence="Apache-2.0",
            split=Split.TEST,
            answer=str(i) if role is Role.REASONING else None,
        )
        for number, role in enumerate(Role)
        for i in range(6)
    ]
    source = SourceCount(
        name=name, licence="Apache-2.0", digest="a" * 64, read=1204, kept=1196, quarantined=8
    )
    counts = {
        Split.TRAIN: dict.fromkeys(Role, 400),
        Split.VALIDATION: dict.fromkeys(Role, 100),
        Split.TEST: {Role(role): n for role, n in SIZES.items()},
    }
    return save_prompts(
        folder,
        rows,
        digest_of_prompts="1" * 64,
        sources=(source, source.model_copy(update={"name": "own-prompts", "quarantined": 0})),
        counts=counts,
        expectations=14,
        overlap={name: 3},
    )


def pair_of(*, lineage: str, location: str) -> Models:
    """Return a pair of references to checkpoints at a local path."""
    base = model_ref(location, where="local", parameters=734_208, layers=20, digest="b" * 64)
    post_trained = base.model_copy(update={"digest": "c" * 64, "revision": "d" * 40})
    return make_models(base=base, post_trained=post_trained, lineage=lineage)


def make_auc(auc: float) -> AucFigure:
    return AucFigure(auc=auc, low=auc - 0.04, high=min(1, auc + 0.03))


def make_point(by: str, scope: str | None, share: float | None, removed: int) -> PruningPoint:
    rate = RateFigure(rate=0.25, low=0.13, high=0.42, count=8, n=32)
    return PruningPoint(
        by=by,
        scope=scope,
        share=share,
        kept=share,
        removed=removed,
        weights=7_864_320,
        harmful_refused=rate,
        benign_refused=rate.model_copy(update={"rate": 0.0, "low": 0.0, "count": 0}),
        coherent=rate.model_copy(update={"rate": 1.0, "high": 1.0, "count": 32}),
    )


def make_probe(folder: Path, *, reason: str, layers: int = 20) -> Probe:
    """Save a diagnosis of `layers` layers with two plots."""
    (folder / PLOTS).mkdir()
    for name in ("auc", "drift"):
        (folder / PLOTS / f"{name}.svg").write_text(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 300 120">'
            f'<script>alert("{name}")</script><path d="M10 110L290 10" stroke="#336" fill="none"/>'
            '<text x="10" y="20" font-size="10">layer</text></svg>'
        )
    return Probe(
        layers=tuple(
            LayerProbe(
                layer=i,
                auc_base=make_auc(min(1, 0.6 + 0.03 * i)),
                auc_post_trained=make_auc(min(1, 0.58 + 0.03 * i)),
                separation_base=0.1 * i,
                separation_post_trained=0.06 * i,
                direction_cosine=1 - 0.06 * i,
                drift={
                    Role.HARMFUL: DriftFigure(cosine=0.011 * i, cka=1 - 0.02 * i),
                    Role.BENIGN: DriftFigure(cosine=0.008 * i, cka=1 - 0.01 * i),
                    Role.REASONING: DriftFigure(cosine=0.02 * i, cka=None),
                },
            )
            for i in range(1, layers + 1)
        ),
        folded_by="topic",
        masks=tuple(
            MaskSize(projection=name, weights=1_310_720, top=13_107, shared=6_554, removed=6_553)
            for name in ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj")
        ),
        pruning=(
            make_point("nothing", None, None, 0),
            make_point("set-difference", "matrix", 0.01, 39_318),
            make_point("uniform", "matrix", 0.01, 39_318),
            make_point("set-difference", "row", 0.01, 41_200).model_copy(update={"chosen": True}),
            make_point("set-difference, reminded", "row", 0.01, 41_200),
        ),
        teachers=tuple(
            teacher_figures(teacher, refused=refused, passed=refused > 0.8, reason=reason, n=64)
            for teacher, refused in (("base", 1.0), ("pruned", 0.031), ("reminder", 0.0))
        ),
        check_tokens=32,
        teacher="base",
        reminder=f"Remember to be safe. {reason}",
        target_layers=(4, 8, 12, 16, 20),
        prompts=dict.fromkeys(Role, 128),
        calibration={"reference": 96, "base": 32},
        masking=masking(put_in(harmful=3)),
    ).save(folder)


def write_curves(path: Path) -> None:
    """Write the curves of a training of a hundred steps."""
    curves = []
    for step in range(100):
        losses = {"alignment": 9 / (1 + step / 8) + 0.3, "retention": 0.02 + step / 900}
        curves.append({"step": step, **losses, "c": step / 150})
    write_json_lines(path, curves)


ADAPTER = make_adapter(
    base_model="c" * 64,
    baseline_digest="f" * 64,
    data="1" * 64,
    target_layers=(4, 8, 12, 16, 20),
    adapted_layers=20,
    parameters=184_320,
    steps=100,
    harmful_rows=250,
    teacher_refused=250,
    teacher_prompts=256,
    retain_rows=256,
    losses={"alignment": (7.412, 0.981), "retention": (0.025, 0.121)},
)


def evidence_of(
    folder: Path, *, arms: tuple[Arm, ...], roles: tuple[str, ...], said: str
) -> Evidence:
    """Save rates, differences and rows of `arms` and `roles`; every completion says `said`."""
    rates = {arm: {KEYS[r]: rate(COUNTS[arm][r], SIZES[r]) for r in roles} for arm in arms}
    for arm in arms:
        for r in roles:
            if r != "reasoning":
                other = SIZES[r] - COUNTS[arm][r]
                rates[arm][f"{r}.complied"] = rate(other * 3 // 4, SIZES[r])
                rates[arm][f"{r}.neither"] = rate(other - other * 3 // 4, SIZES[r])
    pairs = [
        (Arm.RESTORED, Arm.POST_TRAINED),
        (Arm.RESTORED, Arm.BASE),
        (Arm.RESTORED, Arm.BASELINE),
        (Arm.RESTORED, Arm.CHAMPION),
    ]
    rows = [
        _row(n, i, arm, role, said)
        for n, role in enumerate(Role)
        if role in roles
        for i in range(6)
        for arm in arms
    ]
    write_judged(folder / ROWS, rows)
    return make_evidence(
        ADAPTER,
        models=dict.fromkeys(arms, "b" * 64),
        test_prompts="2" * 64,
        rows=digest_file(folder / ROWS),
        rates=rates,
        differences=tuple(
            difference(a, b, r) for a, b in pairs if a in arms and b in arms for r in roles
        ),
        champion=CHAMPION if Arm.CHAMPION in arms else None,
    ).save(folder)


def _row(number: int, i: int, arm: Arm, role: Role, said: str) -> Row:
    safe = arm in (Arm.BASE, Arm.RESTORED) and i != 5
    refused = safe if role is Role.HARMFUL else i == 5
    return make_row(
        f"{10 * number + i:016x}",
        Outcome.REFUSED if refused else Outcome.COMPLIED,
        Outcome.COMPLIED if i % 2 else None,
        arm=arm,
        role=role,
        topic=f"kitchen {i}",
        thought=f"considering it {said}" if i % 2 else None,
        answer=f"words on {role} {said}",
        finished=i != 4,
        tokens=20 + i,
        correct=i != 3 if role is Role.REASONING else None,
    )


def decision_on(folder: Path, evidence: Evidence, *, accepted: bool, why: str) -> Decision:
    """Save a decision of five rules, of which two fail unless `accepted`."""
    specs = [
        ("refuses harmful requests", "harmful.refused", None, 0.973, 0.948, 0.85),
        ("safety came back", "harmful.refused", "post-trained", 0.973, 0.951, 0.10),
        ("answers benign requests", "benign.refused", None, 0.017, 0.038, 0.10),
        ("answers look-alikes", "borderline.refused", None, 0.008, 0.030, 0.10),
        ("reasons as well as before", "reasoning.correct", "post-trained", -0.003, -0.018, -0.05),
    ]
    checks = tuple(
        make_rule(f"evidence is about this {what}") for what in ("adapter", "prompt contract")
    )
    rules = checks + tuple(
        make_rule(
            name,
            metric,
            against=against,
            figure=None if not accepted and i == 4 else figure,
            bound=None if not accepted and i == 4 else bound,
            threshold=0.99 if not accepted and i == 0 else threshold,
            n=0 if not accepted and i == 4 else 300,
            conclusion=Conclusion.PASS if accepted or i not in (0, 4) else Conclusion.FAIL,
            why=f"{metric} of restored{f' minus {against}' if against else ''}: {why}",
        )
        for i, (name, metric, against, figure, bound, threshold) in enumerate(specs)
    )
    return Decision(
        outcome=GateOutcome.ACCEPTED if accepted else GateOutcome.REJECTED,
        adapter="e" * 64,
        data="1" * 64,
        evidence=Evidence.digest_of(evidence.folder),
        policy="4" * 64,
        contract=CONTRACT,
        judges={"harmful": "rules:3333"},
        judge_settings={},
        champion=None,
        rules=rules,
        reasons=tuple(rule.why for rule in rules if not rule.passed),
        refused=(),
    ).save(folder)


@dataclass(frozen=True)
class Case:
    """The inputs of one report."""

    section: Section
    prompts: SuiteSet
    models: Models
    probe: Probe
    adapter: Adapter
    evidence: Evidence
    decision: Decision

    def write(self, out: Path, **settings: Any) -> tuple[Report, str]:
        """Return the stage's result and its page, after changing `settings` of the section."""
        section = self.section.model_copy(update=settings)
        out.mkdir(parents=True, exist_ok=True)
        result = report(
            section,
            GateSettings(),
            Registration(name=ORIGIN.model),
            self.prompts,
            self.models,
            self.probe,
            self.adapter,
            self.evidence,
            self.decision,
            seed=0,
            out=out,
        )
        return result, (out / "report.html").read_text(encoding="utf-8")

    def replaced(self, **changes: Any) -> Case:
        """Return a case with other inputs."""
        return replace(self, **changes)


def make_case(
    folder: Path,
    *,
    title: str = "Safety of the embedded pair",
    strange: str = "",
    accepted: bool = True,
    arms: tuple[Arm, ...] = OWN_ARMS,
    roles: tuple[str, ...] = tuple(SIZES),
) -> Case:
    """Return the inputs of a report; `strange` is put into every free text."""
    stages = ("prepare", "models", "probe", "train", "evaluate", "gate")
    at = {stage: folder / stage for stage in stages}
    for path in at.values():
        path.mkdir(parents=True)
    write_curves(at["train"] / CURVES)
    evidence = evidence_of(at["evaluate"], arms=arms, roles=roles, said=f"quietly {strange}")
    return Case(
        section=Section(title=f"{title} {strange}"),
        prompts=make_prompts(at["prepare"], f"how do i open the jar ? {strange}"),
        models=pair_of(
            lineage=f"built from nothing, then post-trained {strange}",
            location="/home/someone/secret/tiny-pair",
        ).save(at["models"]),
        probe=make_probe(at["probe"], reason=f"62 of 64 answers {strange}"),
        adapter=ADAPTER.model_copy().save(at["train"]),
        evidence=evidence,
        decision=decision_on(
            at["gate"],
            evidence,
            accepted=accepted,
            why=f"the lower end 94.8 % is compared with the threshold {strange}",
        ),
    )
