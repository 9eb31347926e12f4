"""An accepted adapter with all that belongs to it, read from the workspace and checked, and its
model card as Markdown.

Nothing is registered that the decision is not about: the adapter on disk, the evidence, the data
and the prompt contract are compared with those the gate saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from components.chain import split_dvc_name
from components.core import paths as names
from components.core.documents import read_yaml
from components.core.errors import EvidenceError
from components.core.metric_names import Metric, in_order, is_compared
from components.core.paths import Workspace
from components.core.result import RateFigure
from components.core.run_record import git_commit, untracked, versions
from components.core.storage import digest_file
from components.core.untrusted_text import for_markdown, for_terminal
from components.core.vocabulary import Arm
from components.evaluate.result import Evidence
from components.gate.checks import GateInputs, identity_checks
from components.gate.decision import check_follows, make_decision
from components.gate.figures import percent
from components.gate.overrides import check_overrides, read_overrides
from components.gate.policy import Policy
from components.gate.result import UNTESTED, Decision
from components.gate.rules import interval
from components.lm.references import CheckpointRef
from components.models.result import Models
from components.prepare.result import SuiteSet, leak_footnotes, leak_mark, leak_notes
from components.profile import Profile
from components.registry.current import Current, check_current, found_here, stale
from components.registry.looks import Look, Looked, look_of
from components.registry.measured import HEADLINE, Measured, code_tags, measured_of, parameters_of
from components.registry.mlflow_client import as_metrics
from components.registry.people import NOBODY, REGISTERED_BY
from components.registry.verification import check_adapter_files, contract_in
from components.report.result import Report
from components.train.result import Adapter

TEMPLATE = "mlflow/model_card.md.j2"


@dataclass(frozen=True, slots=True)
class Release:
    """An accepted adapter, its evidence and where both come from."""

    settings: Profile
    built_in: str  # folder of checkpoints that the stage `models` built, below the root
    prompts: SuiteSet
    models: Models
    adapter: Adapter
    evidence: Evidence
    decision: Decision
    policy: Policy
    look: Look  # that the decision is
    report: Path | None  # None: no report, or one about another adapter
    outputs: dict[str, str]  # stage -> DVC hash of its folder
    commit: str | None
    changed: bool  # what decides results differed from the commit
    untracked: tuple[str, ...]  # what of it git did not track
    registered_by: str  # the user that MLflow accepted; empty: nobody verified who it was

    @property
    def profile(self) -> str:
        """The profile's name."""
        return self.settings.name

    @property
    def results(self) -> tuple[Decision, Evidence, Adapter, Models, SuiteSet]:
        """All that the decision can be made again from, but for the policy and the rows."""
        return self.decision, self.evidence, self.adapter, self.models, self.prompts

    def tags(self) -> dict[str, str]:
        """Return where adapter and evidence come from, as MLflow tags."""
        signed = [rule.override for rule in self.decision.rules if rule.override]
        tags = {
            "profile": self.profile,
            "gate": "accepted",
            "adapter_digest": self.decision.adapter,
            "evidence_digest": self.decision.evidence,
            "decision_digest": Decision.digest_of(self.decision.folder),
            "policy_digest": self.decision.policy,
            REGISTERED_BY: self.registered_by or NOBODY,
            "data_digest": self.decision.data,
            "prompt_template": self.decision.contract.template,
            "engine": self.evidence.engine,
            "lineage": self.models.lineage or "not described",
            "overrides": "; ".join(f"{s.rule} ({s.signer}, until {s.until})" for s in signed)
            or "none",
            "attacks": ", ".join(self.decision.attacks) or UNTESTED,
            "champion": str(self.evidence.champion or "not measured"),
            **code_tags(self.commit, self.changed, self.untracked),
        }
        tags |= {f"dvc_{stage}": md5 for stage, md5 in self.outputs.items()}
        models = self.models
        refs = {"base": models.base, "post_trained": models.post_trained}
        for role, ref in (refs | ({"ancestor": a} if (a := models.ancestor) else {})).items():
            tags |= {
                f"{role}_model": self.checkpoint(ref),
                f"{role}_revision": ref.revision or "none",
                f"{role}_digest": ref.digest,
            }
        tags |= {f"version_{name}": number for name, number in versions().items()}
        return {key: for_terminal(value) for key, value in tags.items()}

    def checkpoint(self, ref: CheckpointRef) -> str:
        """Return where a checkpoint lies: a path below the root, another path, or a hub id."""
        return f"{self.built_in}/{ref.location}" if ref.where == "stage" else ref.location

    def measured(self, root: Path) -> Measured:
        """Return what its run holds."""
        return measured_of(
            self.settings, self.prompts, self.adapter, self.evidence, self.decision, root
        )


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
    metrics = reported_metrics(decision, evidence)
    return as_metrics(
        {
            f"{arm.value}/{metric}": rates[metric]
            for arm, rates in evidence.rates.items()
            for metric in metrics
            if metric in rates
        }
    )


def gather_release(workspace: Workspace, user: str = "") -> Release:
    """Return the accepted adapter in `workspace`, which `user` registers.

    Raises `EvidenceError` where the gate did not accept it, the decision is about something else
    than what lies in the workspace now, or an override that it rests on has ended or was withdrawn.
    """
    inputs, decision = GateInputs.in_workspace(workspace), Decision.load(workspace.stage("gate"))
    if not decision.accepted:
        raise EvidenceError(
            f"the gate did not accept this adapter ({decision.outcome}): "
            f"{'; '.join(decision.reasons)}"
        )
    current = Current.of(workspace)
    _check_inputs(inputs, decision, current)
    again = make_decision(current.policy, read_overrides(workspace.overrides.parent), inputs)
    check_follows(decision, again, where=str(decision.folder / Decision.FILE))
    commit, changed = git_commit(workspace.root)
    return Release(
        settings=current.profile,
        built_in=workspace.stage("models").relative_to(workspace.root).as_posix(),
        prompts=inputs.prompts,
        models=inputs.models,
        adapter=inputs.adapter,
        evidence=inputs.evidence,
        decision=decision,
        policy=current.policy,
        look=look_of(current.profile, decision, inputs.evidence),
        report=_report(workspace, decision),
        outputs=_output_hashes(workspace),
        commit=commit,
        changed=changed,
        untracked=tuple(untracked(workspace.root, names.DECIDING)),
        registered_by=user,
    )


def _check_inputs(inputs: GateInputs, decision: Decision, current: Current) -> None:
    """Raise `EvidenceError` unless what lies in the workspace is what the decision is about, fits
    together, and has the figures that its rows give."""
    check_adapter_files(inputs.adapter.adapter)
    here = {
        "adapter": inputs.adapter_files,
        **found_here(decision, current),
        "prompt contract": contract_in(inputs.adapter.adapter).digest,
        "evidence": Evidence.digest_of(inputs.evidence.folder),
    }
    check_current(decision, here)
    if broken := [outcome.why for outcome in identity_checks(inputs) if not outcome.passed]:
        raise stale(broken)
    check_overrides(decision, current.workspace.overrides.parent)
    current.recount(inputs.prompts, inputs.models, inputs.evidence)


def _output_hashes(workspace: Workspace) -> dict[str, str]:
    if not workspace.lock.is_file():
        raise EvidenceError(f"{workspace.lock} is missing; run the stages through DVC first")
    hashes: dict[str, str] = {}
    for name, entry in (read_yaml(workspace.lock).get("stages") or {}).items():
        stage, profile = split_dvc_name(name)
        if profile == workspace.profile and entry.get("outs"):
            hashes[stage] = " ".join(out["md5"] for out in entry["outs"])
    return hashes


def _report(workspace: Workspace, decision: Decision) -> Path | None:
    folder = workspace.stage("report")
    page = folder / names.REPORT
    if not page.is_file() or not (folder / Report.FILE).is_file():
        return None
    report = Report.load(folder)
    about = report.adapter == decision.adapter and report.digest == digest_file(page)
    return page if about else None


# --- the model card ---------------------------------------------------------------------------


def write_card(release: Release, *, name: str, looked: Looked, root: Path) -> str:
    """Return the model card of `release`, registered as `name`, from the template in `mlflow/`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(root),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    marked = leak_notes(release.prompts.leaks)
    metrics = reported_metrics(release.decision, release.evidence)
    environment.filters |= {
        "mark": lambda metric: leak_mark(metric, marked),
        "cell": lambda value: for_markdown(str(value)),
        "line": for_terminal,
        "percent": percent,
        "figure": figure,
    }
    return environment.get_template(TEMPLATE).render(
        name=name,
        metadata=hub_metadata(release, name),
        release=release,
        looked=looked.words,
        parameters=parameters_of(release.settings, release.adapter),
        tags=release.tags(),
        metrics=metrics,
        footnotes=leak_footnotes(marked, metrics),
    )


def hub_metadata(release: Release, name: str) -> str:
    """Return what the Hugging Face Hub reads at the head of a card, as YAML.

    The Hub takes its own models alone as `base_model`; the card names a checkpoint on disk.
    """
    from huggingface_hub import EvalResult, ModelCardData

    rates = release.evidence.rates.get(Arm.RESTORED, {})
    model = release.models.post_trained
    dataset = for_terminal(f"{release.profile} test prompts")
    data = ModelCardData(
        library_name="peft",
        pipeline_tag="text-generation",
        base_model=for_terminal(model.location) if model.where == "hub" else None,
        tags=["safety", "lora", "safereact"],
        model_name=for_terminal(name),
        eval_results=[
            EvalResult(
                task_type="text-generation",
                dataset_type=for_terminal(release.profile),
                dataset_name=dataset,
                dataset_revision=release.evidence.test_prompts,
                metric_type=metric,
                metric_value=rates[metric].rate,
                metric_args={"low": rates[metric].low, "high": rates[metric].high},
            )
            for metric in reported_metrics(release.decision, release.evidence)
            if metric in rates
        ],
    )
    return str(data.to_yaml()).strip()


def summarise(release: Release) -> str:
    """Return the restored model's key figures in one paragraph, as a version's description, which
    MLflow shows as Markdown."""
    rates = release.evidence.rates.get(Arm.RESTORED, {})
    checkpoint = for_markdown(release.checkpoint(release.models.post_trained))
    marked = leak_notes(release.prompts.leaks)
    measured = {
        metric: f"{metric} {figure(rates[metric], leak_mark(metric, marked))}"
        for metric in HEADLINE
        if metric in rates
    }
    figures = f"With it: {'; '.join(measured.values())}."
    notes = [for_markdown(note) for note in leak_footnotes(marked, measured)]
    accepted = ", ".join(("accepted by the gate", *release.decision.unknown))
    head = f"Safety adapter for {checkpoint}, {accepted}."
    return " ".join([head, figures, *notes, "The model card is in evidence/model_card.md."])


def figure(rate: RateFigure, sign: str = "") -> str:
    """Return a rate with its `sign`, its interval and the number of prompts behind it."""
    return f"{rate.share}{sign} {interval(rate)}, n = {rate.size}"
