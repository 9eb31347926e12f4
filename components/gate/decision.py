"""A decision: made from evidence and policy, and made again wherever one is relied on.

Nobody who registers, promotes or pulls believes `decision.json`: what it says must follow from the
evidence, the policy and the overrides.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from components.core.errors import EvidenceError
from components.core.result import mismatches
from components.evaluate.result import Evidence
from components.gate.checks import champion_behind, decide
from components.gate.overrides import apply_overrides
from components.gate.policy import Policy
from components.gate.result import Conclusion, Decision, GateOutcome, Override, RuleOutcome
from components.models.result import Models
from components.prepare.result import SuiteSet
from components.train.result import Adapter

_NAMED = 3  # mismatches that a message names
# What of a rule's outcome decides. Words and outlooks may be put better by a later release.
_DECIDING = {"metric", "arm", "against", "figure", "bound", "threshold", "n", "conclusion"}


def make_decision(
    policy: Policy,
    overrides: Iterable[Override],
    prompts: SuiteSet,
    models: Models,
    adapter: Adapter,
    evidence: Evidence,
    *,
    adapter_files: str,
    rows_file: str,
    policy_digest: str = "",
) -> Decision:
    """Return what follows from the evidence; the first two digests are those that `decide` takes.

    `policy_digest` is that of a policy which an earlier release wrote, else the policy's own.
    """
    policy_digest = policy_digest or policy.digest
    digest = Evidence.digest_of(evidence.folder)
    outcomes, refused = apply_overrides(
        decide(
            policy,
            evidence,
            adapter,
            models,
            prompts,
            adapter_files=adapter_files,
            rows_file=rows_file,
        ),
        overrides,
        adapter=adapter.digest,
        evidence=digest,
        policy=policy_digest,
    )
    return Decision(
        outcome=outcome_of(outcomes),
        adapter=adapter.digest,
        data=prompts.digest,
        evidence=digest,
        policy=policy_digest,
        contract=adapter.contract,
        judges=evidence.judges,
        judge_settings=evidence.judge_settings,
        champion=champion_behind(policy, evidence),
        rules=outcomes,
        reasons=tuple(outcome.why for outcome in outcomes if not outcome.stands),
        refused=refused,
    )


def outcome_of(outcomes: Iterable[RuleOutcome]) -> GateOutcome:
    """Return what follows from the outcomes: one that fails rejects, whatever the others say."""
    against = {outcome.conclusion for outcome in outcomes if not outcome.stands}
    if not against:
        return GateOutcome.ACCEPTED
    return GateOutcome.REJECTED if Conclusion.FAIL in against else GateOutcome.INCONCLUSIVE


def check_follows(stored: Decision, again: Decision, *, where: str) -> None:
    """Raise `EvidenceError` naming what a stored decision says otherwise than it is made again.

    Overrides that do not count are no part of it: they may have been signed since.
    """
    _compare(*(_without(one, "refused") for one in (stored, again)), where=where)


def check_decides_alike(stored: Decision, again: Decision, *, where: str) -> None:
    """Raise `EvidenceError` where a stored decision, made again, does not accept, or not on the
    same figures. How a release of today puts its words, or what else it looks at, is no matter."""
    known = {outcome.rule for outcome in stored.rules}
    _compare(_deciding(stored, known), _deciding(again, known), where=where)
    if not again.accepted:
        raise EvidenceError(
            f"{where}: made again from its evidence the decision is {again.outcome}: "
            f"{'; '.join(again.reasons)}"
        )


def _deciding(decision: Decision, known: Iterable[str]) -> dict[str, Any]:
    rules = {
        outcome.rule: {
            **outcome.model_dump(mode="json", include=_DECIDING),
            "override": outcome.override,
        }
        for outcome in decision.rules
        if outcome.rule in known or outcome.threshold is not None
    }
    kept = _without(decision, "rules", "reasons", "refused")
    return {**kept, "number of rules": len(rules), "rule": rules}


def _without(decision: Decision, *keys: str) -> dict[str, Any]:
    return decision.model_dump(mode="json", exclude=set(keys))


def _compare(stored: dict[str, Any], again: dict[str, Any], *, where: str) -> None:
    told = list(islice(mismatches(stored, again), _NAMED))
    if told:
        raise EvidenceError(
            f"{where} does not follow from its evidence and policy: {'; '.join(told)}; "
            "`safereact run` decides anew"
        )
