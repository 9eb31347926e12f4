"""What a decision rests on, counted again where the rows lie beside it."""

from __future__ import annotations

import logging

from components.core.paths import METRICS, Workspace
from components.evaluate.result import Evidence
from components.gate.recount import recount
from components.gate.result import Decision
from components.models.result import Models
from components.prepare.result import SuiteSet
from components.profile import load_profile

log = logging.getLogger(__name__)


def recount_beside(decision: Decision, workspace: Workspace) -> None:
    """Raise what `recount` does, where the rows that a decision rests on lie in the workspace; a
    log line tells where not."""
    evaluated = workspace.stage("evaluate")
    results = (Models, "models"), (SuiteSet, "prepare")
    here = (evaluated / METRICS).is_file() and Evidence.digest_of(evaluated) == decision.evidence
    here = here and all((workspace.stage(at) / kind.FILE).is_file() for kind, at in results)
    evidence = Evidence.load(evaluated) if here else None
    if evidence is None or evidence.rows_now() != evidence.rows:
        told = "figures of adapter %.12s not counted again: the rows behind them are not here"
        log.warning(told, decision.adapter)
        return
    profile = load_profile(workspace.profile_file)
    recount(
        profile.prepare,
        profile.evaluate,
        SuiteSet.load(workspace.stage("prepare")),
        Models.load(workspace.stage("models")),
        evidence,
        seed=profile.seed,
        root=workspace.root,
    )
