"""The stage `report`: one self-contained page about the decision and its evidence."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.core.errors import EvidenceError
from components.core.paths import BARS, CURVES, FIGURES, PLOTS, REPORT, ROWS
from components.core.registration import Registration
from components.core.storage import digest_file, read_json_lines, read_rows, write_json, write_text
from components.core.vocabulary import Arm
from components.evaluate.result import Evidence
from components.gate.result import Decision
from components.gate.settings import GateSettings
from components.models.result import Models
from components.prepare.result import SuiteSet, leak_footnotes, leak_mark, leak_notes
from components.probe.result import Probe
from components.report import dvc_views, figures, wording
from components.report.examples import choose_examples, refusal_openings
from components.report.page import loss_curves, page_template
from components.report.pictures import pictures
from components.report.result import Report
from components.report.settings import ReportSettings as Section
from components.report.studies import COMPARED, WITHSTOOD, Study
from components.report.summary import Origin, rests_on
from components.train.result import Adapter

log = logging.getLogger(__name__)

_SUBJECTS = {
    "harmful.refused": "Harmful requests refused",
    "reasoning.correct": "Reasoning problems solved",
}


def report(
    section: Section,
    gate: GateSettings,
    registration: Registration,
    prompts: SuiteSet,
    models: Models,
    probe: Probe,
    adapter: Adapter,
    evidence: Evidence,
    decision: Decision,
    *,
    seed: int,
    out: Path,
) -> Report:
    """Return the report after writing `report.html`, which needs no network, and what DVC shows of
    it.

    Raises `EvidenceError` where the decision is not about this evidence, or contradicts itself.
    """
    profile = evidence.folder.parent.name  # artifacts/<profile>/evaluate
    origin = Origin(profile, registration.name, gate.policy)
    page = render(
        section, prompts, models, probe, adapter, evidence, decision, seed=seed, origin=origin
    )
    write_text(out / REPORT, page)
    log.info("report written, %d characters", len(page))
    write_json(out / FIGURES, dvc_views.metrics(decision, evidence, adapter))
    write_json(out / BARS, dvc_views.rates(decision, evidence))
    digest = digest_file(out / REPORT)
    return Report(digest=digest, adapter=decision.adapter, accepted=decision.accepted).save(out)


def render(
    section: Section,
    prompts: SuiteSet,
    models: Models,
    probe: Probe,
    adapter: Adapter,
    evidence: Evidence,
    decision: Decision,
    *,
    seed: int,
    origin: Origin,
    studies: Sequence[Study] = (COMPARED, WITHSTOOD),
) -> str:
    """Return the page with what `studies` found; raises `EvidenceError` as `report` does."""
    check_decision(decision, Evidence.digest_of(evidence.folder))
    curves = adapter.folder / CURVES
    rows = read_rows(evidence.folder / ROWS) if section.examples else []
    return page_template().render(
        section=section,
        prompts=prompts,
        models=models,
        probe=probe,
        adapter=adapter,
        evidence=evidence,
        decision=decision,
        seed=seed,
        pictures=pictures(probe.folder / PLOTS, probe),
        masking=wording.masking(probe.masking) if probe.masking else None,
        curves=loss_curves(read_json_lines(curves), adapter.losses) if curves.is_file() else None,
        examples=choose_examples(
            prompts.every_test() if section.examples else [],
            rows,
            count=section.examples,
            redact=section.redact,
            seed=seed,
        ),
        openings=refusal_openings(rows),
        one_contract=adapter.contract == evidence.contract == decision.contract,
        studies=studies,
        rests_on=rests_on(decision, evidence, models, origin, studies),
        **_tables(evidence, decision, leak_notes(prompts.leaks)),
    )


def check_decision(decision: Decision, evidence: str) -> None:
    """Raise `EvidenceError` unless the decision is about the file with digest `evidence` and
    follows from its rules: nothing is accepted with a failed rule or without any rule."""
    if decision.evidence != evidence:
        raise EvidenceError(
            f"the gate decided on the evidence {decision.evidence:.12}, but metrics.json is "
            f"{evidence:.12}; run the stage gate again"
        )
    failed = [rule.rule for rule in decision.rules if not rule.stands]
    if decision.accepted and (failed or not decision.rules):
        raise EvidenceError(
            "decision.json says accepted, but "
            + (f"these rules failed: {', '.join(failed)}" if failed else "it holds no rule")
            + "; run the stage gate again"
        )
    if not decision.accepted and not decision.reasons:
        raise EvidenceError("decision.json says not accepted and gives no reason; run gate again")


def _tables(evidence: Evidence, decision: Decision, marked: dict[str, str]) -> dict[str, Any]:
    """Return the evidence and the decision as the page's tables and sentences; `marked` are the
    suites of which training held prompts, with what was found."""
    measured = set().union(*evidence.rates.values())
    lines = [
        wording.change(evidence, metric, f"{subject}{leak_mark(metric, marked)}")
        for metric, subject in _SUBJECTS.items()
    ]
    lines += [
        wording.under_attack(evidence, metric, f"{subject}{leak_mark(metric, marked)}")
        for metric, subject in wording.ATTACKED.items()
    ]
    lines.append(wording.against_baseline(evidence.differences, evidence.confidence))
    return {
        "verdict": wording.verdict(decision),
        "reasons": wording.reasons(decision),
        "panels": figures.panels(evidence, decision),
        "marked": marked,
        "footnotes": leak_footnotes(marked, measured | {rule.metric for rule in decision.rules}),
        "sentences": [line for line in lines if line],
        "arms": [arm for arm in Arm if arm in evidence.rates],
        "metrics": figures.metrics(evidence, compared=True),
        "others": figures.metrics(evidence, compared=False),
        "attacks": figures.attack_rows(evidence),
        "judges": figures.judge_rows(evidence),
        "agreements": figures.agreement_rows(evidence),
        "comparisons": figures.comparisons(evidence),
    }
