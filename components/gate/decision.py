"""A decision: made from evidence and policy, and made again wherever one is relied on.

Nobody who registers, promotes or pulls believes `decision.json`: what it says must follow from the
evidence, the policy and the overrides, and the evidence from its rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from components.core.errors import EvidenceError
from components.core.result import mismatches
from components.core.vocabulary import Role
from components.evaluate.result import Evidence
from components.gate.checks import GateInputs, decide
from components.gate.overrides import apply_overrides
from components.gate.policy import Policy
from components.gate.result import Conclusion, Decision, GateOutcome, Override, RuleOutcome
from components.gate.rules import attacks_on

_NAMED = 3  # mismatches that a message names
# What of a rule's outcome decides. Words and outlooks may be put better by a later release.
_DECIDING = {"metric", "arm", "against", "figure", "bound", "threshold", "n", "conclusion"}


def make_decision(
    policy: Policy,
    overrides: Iterable[Override],
    inputs: GateInputs,
    *,
    policy_digest: str = "",
) -> Decision:
    """Return what follows from the evidence, under a policy and with overrides.

    `policy_digest` is that of the file that a version keeps, which may lack settings that came
    later; else the policy's own.
    """
    adapter, evidence = inputs.adapter, inputs.evidence
    made = Decision(
        outcome=GateOutcome.INCONCLUSIVE,  # until overrides are applied
        adapter=adapter.digest,
        data=inputs.prompts.digest,
        evidence=Evidence.digest_of(evidence.folder),
        policy=policy_digest or policy.digest,
        contract=adapter.contract,
        judges=evidence.judges,
        judge_settings=evidence.judge_settings,
        second_judges=evidence.by_second_judge.judges,
        second_judge_settings=evidence.by_second_judge.judge_settings,
        champion=compared_champion(policy, evidence),
        attacks=tuple(attacks_on([Role.HARMFUL], evidence)),
        labelled=inputs.labelled,
        withstood=inputs.withstood if policy.withstands else None,
        rules=decide(policy, inputs),
        reasons=(),
        refused=(),
    )
    made = apply_overrides(made, overrides)
    reasons = tuple(outcome.why for outcome in made.rules if not outcome.stands)
    return made.model_copy(update={"outcome": outcome_of(made.rules), "reasons": reasons})


def compared_champion(policy: Policy, evidence: Evidence) -> str | None:
    """Return the digest of the champion that a rule compares with, or `NO_CHAMPION`; None: no rule
    does."""
    return evidence.champion.digest if evidence.champion and policy.names_champion else None


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
    first, second = (one.model_dump(mode="json", exclude={"refused"}) for one in (stored, again))
    _compare(first, second, where=where)


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
        outcome.rule: outcome.model_dump(mode="json", include=_DECIDING | {"override"})
        for outcome in decision.rules
        if outcome.rule in known or outcome.threshold is not None
    }
    others = decision.model_dump(
        mode="json", exclude={"rules", "reasons", "refused", "attacks", "labelled"}
    )
    return {**others, "number of rules": len(rules), "rule": rules}


def _compare(stored: dict[str, Any], again: dict[str, Any], *, where: str) -> None:
    if found := list(islice(mismatches(stored, again), _NAMED)):
        raise EvidenceError(
            f"{where} does not follow from its evidence and policy: {'; '.join(found)}; "
            "`safereact run` decides anew"
        )
