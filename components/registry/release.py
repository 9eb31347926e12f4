"""An accepted adapter with all that belongs to it, read from the workspace and checked.

Nothing is registered that the decision is not about: the adapter on disk, the evidence, the data
and the prompt contract are compared with those the gate saw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from components.chain import load_result
from components.core import paths as names
from components.core.documents import read_yaml
from components.core.errors import EvidenceError
from components.core.metric_names import Metric, in_order, is_compared
from components.core.paths import Workspace
from components.core.run_record import git_commit, untracked, versions
from components.core.storage import digest_file, read_json
from components.core.untrusted_text import for_terminal
from components.evaluate.result import Evidence
from components.gate.checks import bindings
from components.gate.decision import check_follows, make_decision
from components.gate.overrides import check_overrides, read_overrides
from components.gate.policy import Policy
from components.gate.recount import recount
from components.gate.result import Decision
from components.lm.references import ModelRef, PromptContract
from components.models.result import Models
from components.prepare.result import SuiteSet
from components.profile import load_profile
from components.registry.bindings import check_bindings, check_current, found_now, policy_in_force
from components.report.result import Report
from components.train.result import Adapter

# What an adapter's folder may hold. Anything else, pickled weights above all, is refused.
ADAPTER_FILES = frozenset({"adapter_config.json", "adapter_model.safetensors", names.CONTRACT})
_NAMED = 20  # a tag holds some thousand characters
_READ = ("models", "train", "evaluate", "gate")


@dataclass(frozen=True, slots=True)
class Release:
    """An accepted adapter, its evidence and where both come from."""

    profile: str
    built_in: str  # folder of checkpoints that the stage `models` built, below the root
    prompts: SuiteSet
    models: Models
    adapter: Adapter
    evidence: Evidence
    decision: Decision
    policy: Policy
    report: Path | None  # None: no report, or one about another adapter
    outputs: dict[str, str]  # stage -> DVC hash of its folder
    commit: str | None
    changed: bool  # what decides results differed from the commit
    untracked: tuple[str, ...]  # what of it git did not track

    def tags(self) -> dict[str, str]:
        """Return the lineage as MLflow tags."""
        tags = {
            "profile": self.profile,
            "gate": "accepted",
            "adapter_digest": self.decision.adapter,
            "evidence_digest": self.decision.evidence,
            "decision_digest": Decision.digest_of(self.decision.folder),
            "policy_digest": self.decision.policy,
            "data_digest": self.decision.data,
            "prompt_template": self.decision.contract.template,
            "engine": self.evidence.engine,
            "lineage": self.models.lineage or "not described",
            "overrides": "; ".join(self._overrides()) or "none",
            "champion": str(self.evidence.champion or "not measured"),
            "git_commit": self.commit or "none",
            "git_changed": str(self.changed).lower(),
            "git_untracked": _names(self.untracked) or "none",
        }
        tags |= {f"dvc_{stage}": md5 for stage, md5 in self.outputs.items()}
        for role, ref in (("base", self.models.base), ("post_trained", self.models.post_trained)):
            tags |= {
                f"{role}_model": self.checkpoint(ref),
                f"{role}_revision": ref.revision or "none",
                f"{role}_digest": ref.digest,
            }
        tags |= {f"version_{name}": number for name, number in versions().items()}
        return {key: for_terminal(value) for key, value in tags.items()}

    def _overrides(self) -> Iterator[str]:
        for outcome in self.decision.rules:
            if outcome.override:
                yield f"{outcome.rule} ({outcome.override.who}, until {outcome.override.until})"

    def checkpoint(self, ref: ModelRef) -> str:
        """Return where a checkpoint lies: a path below the root, another path, or a hub id."""
        return f"{self.built_in}/{ref.location}" if ref.where == "stage" else ref.location

    def parameters(self) -> dict[str, str]:
        """Return how the adapter was trained as MLflow parameters."""
        config = read_json(self.adapter.adapter / "adapter_config.json")
        trained = self.adapter
        return {
            "teacher": trained.teacher,
            "target_layers": ",".join(str(layer) for layer in trained.target_layers),
            "adapted_layers": str(trained.adapted_layers),
            "adapter_parameters": str(trained.parameters),
            "lora_r": str(config.get("r")),
            "lora_alpha": str(config.get("lora_alpha")),
            "steps": str(trained.steps),
            "harmful_rows": str(trained.harmful_rows),
            "retain_rows": str(trained.retain_rows),
        }

    def metrics(self) -> list[str]:
        """Return the measured metrics that arms are compared in or that a rule is about."""
        return reported_metrics(self.decision, self.evidence)

    def figures(self) -> dict[str, float]:
        """Return the rates of `metrics` as `arm/metric`, with `.low`, `.high` and `.n`."""
        return reported_figures(self.decision, self.evidence)


def reported_metrics(decision: Decision, evidence: Evidence) -> list[str]:
    """Return the measured metrics that arms are compared in or that a rule is about."""
    ruled = {rule.metric for rule in decision.rules}
    measured = {metric for rates in evidence.rates.values() for metric in rates}
    return in_order(
        name
        for name in measured
        if name in ruled or is_compared(name, evidence.roles.get(Metric.parse(name).suite))
    )


def reported_figures(decision: Decision, evidence: Evidence) -> dict[str, float]:
    """Return the rates of `reported_metrics` as `arm/metric`, with `.low`, `.high` and `.n`."""
    figures: dict[str, float] = {}
    metrics = reported_metrics(decision, evidence)
    for arm, rates in evidence.rates.items():
        for metric in (metric for metric in metrics if metric in rates):
            rate, key = rates[metric], f"{arm.value}/{metric}"
            figures[key] = rate.rate
            figures |= {f"{key}.low": rate.low, f"{key}.high": rate.high, f"{key}.n": rate.n}
    return figures


def gather_release(workspace: Workspace) -> Release:
    """Return the accepted adapter in `workspace`.

    Raises `EvidenceError` where the gate did not accept it, the decision is about something else
    than what lies in the workspace now, or an override that it rests on has ended or was withdrawn.
    """
    results = {stage: load_result(stage, workspace.stage(stage)) for stage in _READ}
    decision: Decision = results["gate"]
    if not decision.accepted:
        raise EvidenceError(
            f"the gate did not accept this adapter ({decision.outcome}): "
            f"{'; '.join(decision.reasons)}"
        )
    prompts = SuiteSet.load(workspace.stage("prepare"))
    adapter, evidence = results["train"], results["evaluate"]
    check_adapter_files(adapter.adapter)
    policy, profile = policy_in_force(workspace), load_profile(workspace.profile_file)
    asked = profile.evaluate
    now = found_now(prompts, adapter, evidence, contract_in(adapter.adapter), policy.digest, asked)
    check_current(decision, now)
    files, rows, models = now["adapter"], evidence.rows_now(), results["models"]
    check_bindings(bindings(evidence, adapter, models, prompts, files, rows))
    check_overrides(decision, workspace.overrides.parent)
    recount(
        profile.prepare, asked, prompts, models, evidence, seed=profile.seed, root=workspace.root
    )
    again = make_decision(
        policy,
        read_overrides(workspace.overrides.parent),
        prompts,
        models,
        adapter,
        evidence,
        adapter_files=files,
        rows_file=rows,
    )
    check_follows(decision, again, where=str(decision.folder / Decision.FILE))
    commit, changed = git_commit(workspace.root)
    return Release(
        profile=workspace.profile,
        built_in=workspace.stage("models").relative_to(workspace.root).as_posix(),
        prompts=prompts,
        models=models,
        adapter=adapter,
        evidence=evidence,
        decision=decision,
        policy=policy,
        report=_report(workspace, decision),
        outputs=output_hashes(workspace),
        commit=commit,
        changed=changed,
        untracked=tuple(untracked(workspace.root, names.DECIDING)),
    )


def _names(names: Sequence[str]) -> str:
    """Return the first of the names with commas between, and how many there are beyond."""
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *more])


def check_adapter_files(folder: Path) -> None:
    """Raise `EvidenceError` unless `folder` holds a safetensors adapter and nothing unexpected."""
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}
    if odd := sorted(found - ADAPTER_FILES):
        raise EvidenceError(
            f"adapter folder {folder} holds unexpected files ({', '.join(odd)}); allowed: "
            f"{', '.join(sorted(ADAPTER_FILES))}"
        )
    if missing := sorted(ADAPTER_FILES - found):
        raise EvidenceError(f"adapter folder {folder} lacks {', '.join(missing)}; train it again")


def output_hashes(workspace: Workspace) -> dict[str, str]:
    """Return stage -> DVC hash of its folder, for the stages that `dvc.lock` knows."""
    if not workspace.lock.is_file():
        raise EvidenceError(f"{workspace.lock} is missing; run the stages through DVC first")
    hashes: dict[str, str] = {}
    for name, entry in (read_yaml(workspace.lock).get("stages") or {}).items():
        stage, _, profile = name.partition("@")
        if profile == workspace.profile and entry.get("outs"):
            hashes[stage] = entry["outs"][0]["md5"]
    return hashes


def contract_in(folder: Path) -> PromptContract:
    """Return the prompt contract in an adapter's own folder."""
    stored = folder / names.CONTRACT
    try:
        return PromptContract.model_validate(read_json(stored))
    except ValidationError as error:
        raise EvidenceError(f"{stored} is not a prompt contract: {error}") from error


def _report(workspace: Workspace, decision: Decision) -> Path | None:
    folder = workspace.stage("report")
    page = folder / names.REPORT
    if not page.is_file() or not (folder / Report.FILE).is_file():
        return None
    report = Report.load(folder)
    about = report.adapter == decision.adapter and report.digest == digest_file(page)
    return page if about else None
