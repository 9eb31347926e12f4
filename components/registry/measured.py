"""What a run of MLflow holds of a decision, whatever it says: settings, curves, figures, data."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from components.core.metric_names import in_order
from components.core.paths import CURVES, DECIDING, PROMPTS, TESTS
from components.core.run_record import git_commit, untracked
from components.core.storage import read_json, read_json_lines
from components.core.untrusted_text import for_markdown, for_terminal
from components.core.vocabulary import Arm, Split
from components.evaluate.result import Evidence
from components.gate.result import Decision
from components.prepare.result import SuiteSet
from components.profile import Profile
from components.train.result import Adapter

HEADLINE = ("harmful.refused", "borderline.refused", "benign.refused", "reasoning.correct")
_NAMED = 20  # untracked files that a tag names; it holds some thousand characters
Cell = str | float | None


class Used(NamedTuple):
    """A data set and what it was used for, as MLflow names it."""

    name: str
    digest: str
    source: str
    context: str  # training or evaluation
    rows: int


class Measured(NamedTuple):
    """What a run holds beside its tags."""

    title: str
    about: str  # Markdown
    parameters: dict[str, str]
    figures: dict[str, float]  # those that people compare runs by; `table` has all
    curves: Sequence[tuple[str, int, float]]  # name, optimiser step, value
    table: dict[str, list[Cell]]  # column -> its values
    data: Sequence[Used]  # what was evaluated on comes last


def measured_of(
    profile: Profile,
    prompts: SuiteSet,
    adapter: Adapter,
    evidence: Evidence,
    decision: Decision,
    root: Path,
) -> Measured:
    """Return what a run that begins now holds of a decision on a profile's adapter."""
    folder, trained = prompts.folder.relative_to(root), prompts.digest_of_prompts
    counts = {split: sum(prompts.counts.get(split, {}).values()) for split in Split}
    title = f"{profile.name} {datetime.now(UTC):%Y-%m-%d %H:%M} {decision.outcome}"
    return Measured(
        title,
        _about(decision),
        parameters_of(profile, adapter),
        key_figures(decision, evidence),
        list(_curves(adapter)),
        rates_table(evidence),
        [
            Used(profile.name, trained, f"{folder / PROMPTS}", "training", counts[Split.TRAIN]),
            Used(
                f"{profile.name} test prompts",
                evidence.test_prompts,
                f"{folder / TESTS}",
                "evaluation",
                counts[Split.TEST],
            ),
        ],
    )


def _about(decision: Decision) -> str:
    """Return what a page that lists figures without intervals has to say first."""
    why = "; ".join(decision.reasons)
    said = for_markdown(for_terminal(f"The gate: {decision.words}{f': {why}' if why else ''}."))
    return f"{said} Every rate has its interval and n in `evaluation.json`, among the artifacts."


def parameters_of(profile: Profile, adapter: Adapter) -> dict[str, str]:
    """Return how an adapter was trained, as MLflow parameters."""
    config = read_json(adapter.adapter / "adapter_config.json")
    return {
        "method": adapter.method,
        "teacher": adapter.teacher,
        "lr": f"{profile.train.lr:g}",
        "seed": str(profile.seed),
        "forms": ",".join(profile.train.forms),
        "target_layers": ",".join(str(layer) for layer in adapter.target_layers),
        "adapted_layers": str(adapter.adapted_layers),
        "adapter_parameters": str(adapter.parameters),
        "lora_r": str(config.get("r")),
        "lora_alpha": str(config.get("lora_alpha")),
        "steps": str(adapter.steps),
        "harmful_rows": str(adapter.harmful_rows),
        "retain_rows": str(adapter.retain_rows),
    }


def key_figures(decision: Decision, evidence: Evidence) -> dict[str, float]:
    """Return as `arm/metric` the headline's rates of every arm, and of the restored model those
    that a rule is about."""
    ruled = sorted({rule.metric for rule in decision.rules if rule.threshold is not None})
    wanted = {arm: [*HEADLINE, *(ruled if arm == Arm.RESTORED else ())] for arm in evidence.rates}
    return {
        f"{arm}/{metric}": evidence.rates[arm][metric].rate
        for arm, metrics in wanted.items()
        for metric in metrics
        if metric in evidence.rates[arm]
    }


def rates_table(evidence: Evidence) -> dict[str, list[Cell]]:
    """Return every rate of the evidence, a row each, as columns."""
    heads = ("arm", "metric", "rate", "low", "high", "count", "n", "independent")
    rows: list[tuple[Cell, ...]] = [
        (str(arm), metric, r.rate, r.low, r.high, r.count, r.n, r.clusters or r.n)
        for arm, rates in evidence.rates.items()
        for metric in in_order(rates)
        for r in (rates[metric],)
    ]
    return {head: [row[place] for row in rows] for place, head in enumerate(heads)}


def _curves(adapter: Adapter) -> list[tuple[str, int, float]]:
    file = adapter.folder / CURVES
    lines = read_json_lines(file) if file.is_file() else []
    return [
        (f"loss/{name}", int(line["step"]), float(line[name]))
        for line in lines
        for name in adapter.losses
        if name in line
    ]


def code_tags(commit: str | None, changed: bool, files: Sequence[str]) -> dict[str, str]:
    """Return from which code a result comes, as tags: the commit, whether what decides results
    differed from it, and `files` that git did not track."""
    more = len(files) - _NAMED
    named = [*files[:_NAMED], *([f"{more} more"] if more > 0 else [])]
    return {
        "git_commit": commit or "none",
        "git_changed": str(changed).lower(),
        "git_untracked": ", ".join(named) or "none",
    }


def code_here(root: Path) -> dict[str, str]:
    """Return the same of the checkout at `root`."""
    return code_tags(*git_commit(root), untracked(root, DECIDING))


def refusal_tags(decision: Decision, looks: str, root: Path) -> dict[str, str]:
    """Return what is said of a decision that registers nothing, as tags of its run."""
    tags = {
        "gate": str(decision.outcome),
        "why": "; ".join(decision.reasons),
        "looks": looks,
        "adapter_digest": decision.adapter,
        "evidence_digest": decision.evidence,
        "decision_digest": Decision.digest_of(decision.folder),
        "policy_digest": decision.policy,
        "data_digest": decision.data,
        **code_here(root),
    }
    return {key: for_terminal(value) for key, value in tags.items()}
