"""What a decision is bound to, compared with what is there now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from components.errors import EvidenceError
from components.results import Adapter, Decision, Evidence, PromptContract, RuleOutcome, SuiteSet
from components.shown import short_digest
from components.storage import digest_folder


def bound_to(decision: Decision) -> dict[str, str]:
    """Return the digest or name of everything that the decision is about."""
    return {
        "adapter": decision.adapter,
        "data": decision.data,
        "prompt contract": decision.contract.digest,
        **{f"judge of {suite}": judge for suite, judge in decision.judges.items()},
        **({"champion": decision.champion} if decision.champion else {}),
        "evidence": decision.evidence,
        "policy": decision.policy,
    }


def found_now(
    prompts: SuiteSet, adapter: Adapter, evidence: Evidence, contract: PromptContract, policy: str
) -> dict[str, str]:
    """Return the same of what lies in a workspace; `contract` is that of the adapter's own file,
    `policy` the digest of the one in force."""
    return {
        "adapter": digest_folder(adapter.adapter),
        "data": prompts.digest,
        "prompt contract": contract.digest,
        **{f"judge of {suite}": judge for suite, judge in evidence.judges.items()},
        "evidence": Evidence.digest_of(evidence.folder),
        "policy": policy,
    }


def check_current(decision: Decision, now: Mapping[str, str]) -> None:
    """Raise `EvidenceError` naming every binding of the decision that is no longer so.

    `now` holds those that can be looked at; a binding that only one side has is none.
    """
    bound = bound_to(decision)
    changed = [
        f"the decision's {what} ({short_digest(bound.get(what, 'none'))}) is not the {what} here "
        f"({short_digest(found)})"
        for what, found in now.items()
        if bound.get(what) != found
    ]
    if changed:
        raise EvidenceError(
            f"{'; '.join(changed)}: the decision is stale; `safereact run` brings it up to date"
        )


def check_bindings(outcomes: Iterable[RuleOutcome]) -> None:
    """Raise `EvidenceError` unless adapter, evidence, models and prompts still belong together."""
    broken = [outcome.why for outcome in outcomes if not outcome.passed]
    if broken:
        raise EvidenceError(
            f"{'; '.join(broken)}: the decision is stale; `safereact run` brings it up to date"
        )
