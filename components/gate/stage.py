"""The stage `gate`: whether one adapter is accepted, as a decision file."""

from __future__ import annotations

import logging
from pathlib import Path

from components.core.paths import LABELS, OVERRIDES, POLICIES, WITHSTOOD
from components.evaluate.recount import recount_evidence
from components.evaluate.result import Evidence
from components.evaluate.settings import EvaluateSettings
from components.gate.checks import GateInputs, identity_checks
from components.gate.decision import make_decision
from components.gate.overrides import read_overrides
from components.gate.policy_files import load_policy, policy_file
from components.gate.result import Decision
from components.gate.settings import GateSettings
from components.gate.withstood import read_withstood
from components.judges.labels import read_labels
from components.models.result import Models
from components.prepare.recount import recount_prompts
from components.prepare.result import SuiteSet
from components.prepare.settings import PrepareSettings
from components.train.result import Adapter

log = logging.getLogger(__name__)


def gate(
    section: GateSettings,
    prepare: PrepareSettings,
    evaluate: EvaluateSettings,
    prompts: SuiteSet,
    models: Models,
    adapter: Adapter,
    evidence: Evidence,
    *,
    seed: int,
    out: Path,
) -> Decision:
    """Write the decision into `out` and return it; a refusal is a decision, not an error.

    Policy, overrides, labels and what a study found are read below the working directory. Every
    figure is counted again first, unless evidence, adapter, models and prompts do not belong
    together, which rejects anyway. Raises `EvidenceError` for a figure that does not follow from
    the rows, and `ConfigError` for a policy that is unknown, and for one and for overrides that are
    not valid; `DataError` for labels, and for what a study found, that are none.
    """
    policy = load_policy(policy_file(section.policy, Path(POLICIES)))
    labels = read_labels(Path(LABELS))
    withstood = read_withstood(Path(WITHSTOOD), adapter.digest)
    inputs = GateInputs.on_disk(prompts, models, adapter, evidence, labels, withstood)
    if all(outcome.passed for outcome in identity_checks(inputs)):
        recount_prompts(prompts, prepare)
        recount_evidence(evidence, evaluate, prompts, models, seed=seed, root=Path())
    decision = make_decision(policy, read_overrides(Path(OVERRIDES)), inputs)
    for outcome in decision.rules:
        level = logging.DEBUG if outcome.passed and not outcome.warns else logging.INFO
        log.log(level, "%s  %s: %s", outcome.conclusion, outcome.rule, outcome.why)
        if outcome.override:
            log.info("%s: %s", outcome.rule, outcome.override)
    held = sum(outcome.passed for outcome in decision.rules)
    log.info("%d of %d rules and checks pass", held, len(decision.rules))
    for refusal in decision.refused:
        log.warning("%s", refusal)
    log.info("%s", decision.words)
    return decision.save(out)
