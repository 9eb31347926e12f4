"""What a decision is bound to, compared with what is there now."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from components.core.errors import EvidenceError
from components.core.paths import POLICIES, SUITES, Workspace
from components.core.storage import digest_folder
from components.core.untrusted_text import short_digest
from components.core.vocabulary import Role
from components.evaluate.result import Evidence
from components.evaluate.settings import EvaluateSettings
from components.gate.policy import Policy
from components.gate.policy_files import load_policy, policy_file
from components.gate.result import Decision, RuleOutcome
from components.judges.opening import digest_of_judge
from components.judges.rules.outcomes import rules_name
from components.judges.settings import RULES
from components.lm.references import PromptContract
from components.models.result import Models
from components.prepare.result import SuiteSet
from components.prepare.suites import used_suites
from components.profile import load_profile
from components.train.result import Adapter

log = logging.getLogger(__name__)


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
    prompts: SuiteSet,
    adapter: Adapter,
    evidence: Evidence,
    contract: PromptContract,
    policy: str,
    asked: EvaluateSettings,
) -> dict[str, str]:
    """Return the same of what lies in a workspace; `contract` is that of the adapter's own file,
    `policy` the digest of the one in force, and `asked` says who judges now."""
    return {
        "adapter": digest_folder(adapter.adapter),
        "data": prompts.digest,
        "prompt contract": contract.digest,
        **_judges_now(evidence, asked, {name: spec.judge for name, spec in prompts.suites.items()}),
        "evidence": Evidence.digest_of(evidence.folder),
        "policy": policy,
    }


def found_beside(decision: Decision, workspace: Workspace) -> dict[str, str]:
    """Return the same of what a workspace shows beside a registered version: who judges by its
    profile and its suites, and data and prompt contract where stages have run there; a log line
    tells where not.

    Raises `ConfigError` for a profile that is unknown or not valid, or names an unknown suite.
    """
    profile = load_profile(workspace.profile_file)
    suites = used_suites(profile.prepare.suites, workspace.root / SUITES)
    found = _judges_now(
        decision, profile.evaluate, {name: suite.judge for name, suite in suites.items()}
    )
    missing = []
    if (workspace.stage("prepare") / SuiteSet.FILE).is_file():
        found["data"] = SuiteSet.load(workspace.stage("prepare")).digest
    else:
        missing.append("data")
    if (workspace.stage("models") / Models.FILE).is_file():
        models = Models.load(workspace.stage("models"))
        found["prompt contract"] = models.post_trained.contract.digest
    else:
        missing.append("prompt contract")
    if missing:
        told = " and ".join(missing)
        log.warning("%s of profile %s not compared: not here", told, workspace.profile)
    return found


def _judges_now(
    said: Evidence | Decision, asked: EvaluateSettings, named: Mapping[str, str]
) -> dict[str, str]:
    """Return the judges of the suites in `said` as a profile has them now, as far as that can be
    told without weights: of `rules` the name; of any other the name that `said` has where what
    decides its rulings is the same, and else its kind with that digest; `none` of a suite that the
    profile does not ask. `named` are the named suites' judges, as the profile calls them.
    """
    labels = {role.value: asked.judge_of(role) for role in Role} | dict(named)
    rules = rules_name(asked.rules.refusal_patterns, asked.rules.compliance_pattern)
    found = {}
    for suite, judge in said.judges.items():
        label = labels.get(suite, "")
        if label == RULES:
            now = rules
        elif (digest := digest_of_judge(asked.judges, asked.rules, label)) is None:
            now = "none"
        elif digest == said.judge_settings.get(suite):
            now = judge
        else:
            now = f"{asked.judges[label].kind}:{digest}"
        found[f"judge of {suite}"] = now
    return found


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


def policy_in_force(workspace: Workspace) -> Policy:
    """Return the policy that a profile's adapters are held to now."""
    name = load_profile(workspace.profile_file).gate.policy
    return load_policy(policy_file(name, workspace.root / POLICIES))
