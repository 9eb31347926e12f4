"""The stage `gate`: the policy's word on one adapter, as a decision file."""

from __future__ import annotations

import logging
from pathlib import Path

from components import config
from components.release.gate import decide
from components.release.policy import load_policy, policy_file
from components.results import Adapter, Decision, Evidence, Models, PromptSet
from components.storage import digest_file, digest_folder
from components.workspace import POLICIES

log = logging.getLogger(__name__)


def gate(
    section: config.Gate,
    prompts: PromptSet,
    models: Models,
    adapter: Adapter,
    evidence: Evidence,
    *,
    seed: int,  # noqa: ARG001 - nothing is drawn; every stage is called alike
    out: Path,
) -> Decision:
    """Write the decision into `out` and return it; a refusal is a decision, not an error.

    The policy is read below the working directory. Raises `ConfigError` for one that is unknown or
    not valid.
    """
    path = policy_file(section.policy, Path(POLICIES))
    outcomes = decide(
        load_policy(path),
        evidence,
        adapter,
        models,
        prompts_digest=prompts.digest_of_prompts,
        adapter_files=digest_folder(adapter.adapter),
    )
    reasons = tuple(outcome.why for outcome in outcomes if not outcome.passed)
    for outcome in outcomes:
        log.info("%s  %s: %s", "pass" if outcome.passed else "FAIL", outcome.rule, outcome.why)
    log.info("accepted" if not reasons else "not accepted")
    return Decision(
        accepted=not reasons,
        adapter=adapter.digest,
        data=prompts.digest_of_prompts,
        evidence=Evidence.digest_of(evidence.folder),
        policy=digest_file(path),
        contract=adapter.contract,
        rules=outcomes,
        reasons=reasons,
    ).save(out)
