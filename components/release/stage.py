"""The stage `gate`: the policy's word on one adapter, as a decision file."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from components import config
from components.release.gate import champion_behind, decide
from components.release.overrides import apply_overrides, read_overrides
from components.release.policies import load_policy, policy_file
from components.results import (
    Adapter,
    Conclusion,
    Decision,
    Evidence,
    Models,
    RuleOutcome,
    SuiteSet,
    Word,
)
from components.storage import digest_folder
from components.workspace import OVERRIDES, POLICIES

log = logging.getLogger(__name__)


def gate(
    section: config.Gate,
    prompts: SuiteSet,
    models: Models,
    adapter: Adapter,
    evidence: Evidence,
    *,
    seed: int,  # noqa: ARG001 - nothing is drawn; every stage is called alike
    out: Path,
) -> Decision:
    """Write the decision into `out` and return it; a refusal is a decision, not an error.

    The policy and the overrides are read below the working directory. Raises `ConfigError` for a
    policy that is unknown, and for one and for overrides that are not valid.
    """
    policy = load_policy(policy_file(section.policy, Path(POLICIES)))
    outcomes = decide(
        policy,
        evidence,
        adapter,
        models,
        prompts,
        adapter_files=digest_folder(adapter.adapter),
        rows_file=evidence.rows_now(),
    )
    digest = Evidence.digest_of(evidence.folder)
    outcomes, refused = apply_overrides(
        outcomes,
        read_overrides(Path(OVERRIDES)),
        adapter=adapter.digest,
        evidence=digest,
        policy=policy.digest,
    )
    decision = Decision(
        word=word_of(outcomes),
        adapter=adapter.digest,
        data=prompts.digest,
        evidence=digest,
        policy=policy.digest,
        contract=adapter.contract,
        judges=evidence.judges,
        judge_settings=evidence.judge_settings,
        champion=champion_behind(policy, evidence),
        rules=outcomes,
        reasons=tuple(outcome.why for outcome in outcomes if not outcome.stands),
        refused=refused,
    )
    _tell(decision)
    return decision.save(out)


def word_of(outcomes: Iterable[RuleOutcome]) -> Word:
    """Return what follows from the outcomes: one that fails rejects, whatever the others say."""
    against = {outcome.conclusion for outcome in outcomes if not outcome.stands}
    if not against:
        return Word.ACCEPTED
    return Word.REJECTED if Conclusion.FAIL in against else Word.INCONCLUSIVE


def _tell(decision: Decision) -> None:
    for outcome in decision.rules:
        log.info("%s  %s: %s", outcome.conclusion, outcome.rule, outcome.why)
        if outcome.override:
            log.info("%s: %s", outcome.rule, outcome.override)
    for refusal in decision.refused:
        log.warning("%s", refusal)
    log.info("%s", decision.word)
