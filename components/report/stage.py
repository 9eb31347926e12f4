"""The stage `report`: one self-contained page about the decision and its evidence."""

from __future__ import annotations

import logging
from pathlib import Path

from components.core.errors import EvidenceError
from components.core.paths import REPORT
from components.core.storage import digest_file, write_text
from components.evaluate.result import Evidence
from components.gate.result import Decision
from components.models.result import Models
from components.prepare.result import SuiteSet
from components.probe.result import Probe
from components.report.page import render
from components.report.result import Report
from components.report.settings import ReportSettings as Section
from components.train.result import Adapter

log = logging.getLogger(__name__)


def report(
    section: Section,
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
    """Return the report after writing `report.html`, which needs neither script nor network.

    Raises `EvidenceError` where the decision is not about this evidence, or contradicts itself.
    """
    check_decision(decision, Evidence.digest_of(evidence.folder))
    page = render(section, prompts, models, probe, adapter, evidence, decision, seed=seed)
    write_text(out / REPORT, page)
    log.info("report written, %d characters", len(page))
    return Report(
        digest=digest_file(out / REPORT), adapter=decision.adapter, accepted=decision.accepted
    ).save(out)


def check_decision(decision: Decision, evidence: str) -> None:
    """Raise `EvidenceError` unless the decision is about the file with digest `evidence` and its
    word follows from its rules: nothing is accepted with a failed rule or without any rule."""
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
