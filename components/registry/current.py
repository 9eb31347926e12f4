"""Whether a decision still holds: what it is about, compared with what is here now.

An adapter that becomes champion itself ends no comparison: what it was accepted against stays what
the decision is about, so nothing is evaluated again for a promotion.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from components.core.errors import EvidenceError
from components.core.paths import LABELS, POLICIES, SUITES, WITHSTOOD, Workspace
from components.core.result import mismatches
from components.core.untrusted_text import short_digest
from components.core.vocabulary import Role
from components.evaluate.result import NO_CHAMPION, Evidence
from components.evaluate.settings import EvaluateSettings
from components.gate.policy import Policy
from components.gate.policy_files import load_policy, policy_file
from components.gate.result import Decision
from components.gate.withstood import read_withstood
from components.judges.labels import read_labels
from components.judges.opening import digest_of_judge
from components.judges.rules.outcomes import rules_name
from components.judges.settings import RULES
from components.models.result import Models
from components.prepare.result import SuiteSet
from components.prepare.suites import used_suites
from components.profile import Profile, load_profile
from components.registry.mlflow_registry import CHAMPION, Registry

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Current:
    """What a profile and its policy say now."""

    workspace: Workspace
    profile: Profile
    policy: Policy

    @classmethod
    def of(cls, workspace: Workspace) -> Self:
        """Return what holds in a workspace; raises `ConfigError` for a profile or policy that is
        unknown or not valid."""
        profile = load_profile(workspace.profile_file)
        policy = load_policy(policy_file(profile.gate.policy, workspace.root / POLICIES))
        return cls(workspace, profile, policy)

    def recount(self, prompts: SuiteSet, models: Models, evidence: Evidence) -> None:
        """Raise `EvidenceError` naming every figure of prompts and evidence, with both values, that
        does not follow from their tables and rows."""
        from components.evaluate.recount import recount_evidence
        from components.prepare.recount import recount_prompts

        profile, root = self.profile, self.workspace.root
        section, seed = profile.evaluate, profile.data_seed
        recount_prompts(prompts, profile.prepare)
        recount_evidence(evidence, section, prompts, models, seed=seed, root=root)


def found_here(decision: Decision, current: Current) -> dict[str, str]:
    """Return the digest or name of what a decision is about, as far as a workspace has it now.

    That is who judges and which policy, by its profile and its suites, and data and prompt contract
    where stages have run there; a log line says where not. Raises `ConfigError` for a profile that
    names an unknown suite.
    """
    workspace, profile = current.workspace, current.profile
    suites = used_suites(profile.prepare.suites, workspace.root / SUITES)
    section, twice = profile.evaluate, profile.evaluate.second_judge
    first = {role.value: section.judge_of(role) for role in Role}
    first |= {name: suite.judge for name, suite in suites.items()}
    roles = {role.value: role for role in Role} | {name: s.role for name, s in suites.items()}
    second = {suite: twice[role] for suite, role in roles.items() if role in twice}
    found = {
        **_judges(decision.judges, decision.judge_settings, first, section),
        **_judges(
            decision.second_judges, decision.second_judge_settings, second, section, "second "
        ),
    }
    found["policy"] = current.policy.digest
    if (workspace.stage("prepare") / SuiteSet.FILE).is_file():
        found["data"] = SuiteSet.load(workspace.stage("prepare")).digest
    if (workspace.stage("models") / Models.FILE).is_file():
        models = Models.load(workspace.stage("models"))
        found["prompt contract"] = models.post_trained.contract.digest
    if missing := " and ".join(key for key in ("data", "prompt contract") if key not in found):
        log.warning("%s of profile %s not compared: not here", missing, workspace.profile)
    return found


def _judges(
    judges: Mapping[str, str],
    settings: Mapping[str, str],
    labels: Mapping[str, str],
    section: EvaluateSettings,
    which: str = "",
) -> dict[str, str]:
    """Return the `judges` of a decision's suites as a profile has them now, as far as that is known
    without weights: of `rules` the name; of any other the name in the decision where what decides
    its verdicts is the same as in `settings`, and else its kind with that digest; `none` of a suite
    that the profile does not use. `labels` are all suites' judges, as the profile calls them.
    """
    rules = rules_name(section.rules.refusal_patterns, section.rules.compliance_pattern)
    found = {}
    for suite, judge in judges.items():
        label = labels.get(suite, "")
        if label == RULES:
            now = rules
        elif (digest := digest_of_judge(section.judges, section.rules, label)) is None:
            now = "none"
        elif digest == settings.get(suite):
            now = judge
        else:
            now = f"{section.judges[label].kind}:{digest}"
        found[f"{which}judge of {suite}"] = now
    return found


def check_current(decision: Decision, now: Mapping[str, str]) -> None:
    """Raise `EvidenceError` naming all that a decision is about and that is another one `now`.

    `now` holds what can be compared; what only one side has is called none.
    """
    about = {
        "adapter": decision.adapter,
        "data": decision.data,
        "prompt contract": decision.contract.digest,
        **{f"judge of {suite}": judge for suite, judge in decision.judges.items()},
        **{f"second judge of {s}": judge for s, judge in decision.second_judges.items()},
        **({"champion": decision.champion} if decision.champion else {}),
        "evidence": decision.evidence,
        "policy": decision.policy,
    }
    changed = [
        f"the decision's {what} ({short_digest(about.get(what, 'none'))}) is not the {what} here "
        f"({short_digest(found)})"
        for what, found in now.items()
        if about.get(what) != found
    ]
    if changed:
        raise stale(changed)


def check_champion(registry: Registry, name: str, decision: Decision) -> None:
    """Raise `EvidenceError` where the champion of `name` is another one than the decision rests on;
    a champion that is the accepted adapter itself is none."""
    if decision.champion is None:
        return
    version = registry.version_at(name, CHAMPION)
    now = version.tags.get("adapter_digest", "") if version else NO_CHAMPION
    if now != decision.adapter:
        check_current(decision, {"champion": now})


def stale(reasons: list[str]) -> EvidenceError:
    """Return the refusal of a decision that no longer holds."""
    return EvidenceError(
        f"{'; '.join(reasons)}: the decision is stale; `safereact run` brings it up to date"
    )


def recount_here(decision: Decision, current: Current) -> bool:
    """Return whether the rows that a decision rests on lie in the workspace and its figures follow
    from them; a log line tells where they do not lie there.

    Raises what `recount` does, and `EvidenceError` where people say otherwise of the completions
    than the decision has it, or a study of the adapter found something else.
    """
    from components.evaluate.recount import tabulate_labels

    prepared, models, evaluated = map(current.workspace.stage, ("prepare", "models", "evaluate"))
    here = (
        (prepared / SuiteSet.FILE).is_file()
        and (models / Models.FILE).is_file()
        and (evaluated / Evidence.FILE).is_file()
        and Evidence.digest_of(evaluated) == decision.evidence
    )
    evidence = Evidence.load(evaluated) if here else None
    if evidence is None or evidence.rows_now() != evidence.rows:
        message = "figures of adapter %.12s not counted again: the rows behind them are not here"
        log.warning(message, decision.adapter)
        return False
    current.recount(SuiteSet.load(prepared), Models.load(models), evidence)
    said = tabulate_labels(evidence, read_labels(current.workspace.root / LABELS))
    problems = list(mismatches(decision.labelled, said, "labels:"))
    if decision.withstood:
        found = read_withstood(current.workspace.root / WITHSTOOD, decision.adapter)
        problems += mismatches(decision.withstood, found, "what `safereact withstand` found:")
    if problems:
        raise stale(problems[:1])
    return True
