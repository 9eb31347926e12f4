"""The technical documentation of the adapter, in the order of Annex XI of the EU AI Act.

Regulation (EU) 2024/1689, Annex XI, section 1, points 1 and 2, names what a general-purpose model's
documentation holds; who modifies a model documents the modification (recital 109). Headings are in
our own words. What no stage recorded is called so, and nothing here is a legal assessment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from components.core.metric_names import in_order
from components.core.registration import Documentation
from components.core.result import in_words
from components.core.storage import read_json
from components.core.untrusted_text import short_digest
from components.core.vocabulary import Arm, Split
from components.evaluate.result import Evidence
from components.gate.result import Decision
from components.lm.references import ModelRef
from components.models.result import Models
from components.prepare.result import SuiteSet
from components.report.page import page_template
from components.report.summary import Origin, rests_on
from components.report.wording import counted, interval, listed, percent, verdict
from components.train.result import Adapter

Fact = tuple[str, str]  # a term and its words
Costs = Mapping[str, Mapping[str, Any]]  # stage -> what its run recorded

NOT_RECORDED = "Not recorded."


class Documented(NamedTuple):
    """An adapter with what is known of it."""

    origin: Origin
    people: Documentation
    prompts: SuiteSet
    models: Models
    adapter: Adapter
    evidence: Evidence
    decision: Decision


class Point(NamedTuple):
    """One point of the Annex, with what is known of it."""

    place: str  # 1(a)
    title: str
    facts: list[Fact]


def annex_page(found: Documented, costs: Costs) -> str:
    """Return the page, which needs no network; `costs` are those of the stages that
    wrote what is here."""
    return page_template("annex.html").render(
        origin=found.origin,
        general=list(_general(found)),
        detailed=list(_detailed(found, costs)),
        measured=list(_measured(found)),
        limits=rests_on(found.decision, found.evidence, found.models, found.origin),
        verdict=verdict(found.decision),
        unknown=found.decision.unknown,
    )


def _said(text: str | None, key: str) -> str:
    return (
        text or f"Not recorded: write it under `registration.documentation.{key}` of the profile."
    )


def _general(found: Documented) -> Iterator[Point]:
    """Yield point 1: what the modified model is."""
    people, adapter = found.people, found.adapter
    base = found.models.post_trained
    yield Point("1(a)", "Tasks, and systems that it may go into", [
        ("Of the adapter", "Brings back refusals that post-training took away."),
        ("Of the model", _said(people.tasks, "tasks")),
    ])  # fmt: skip
    yield Point("1(b)", "Acceptable use", [("Policy", _said(people.use_policy, "use_policy"))])
    yield Point("1(c)", "Release and distribution", [
        ("Registered model", f"{found.origin.model}, in MLflow, which dates its versions"
         if found.decision.accepted else _unregistered(found)),
        ("Distribution", _said(people.distribution, "distribution")),
    ])  # fmt: skip
    yield Point("1(d)", "Architecture and parameters", [
        ("Modified model", _model(base)),
        ("Adapter", f"LoRA on the first {adapter.adapted_layers} layers, "
                    f"{adapter.parameters:,} parameters, SHA-256 {adapter.digest}"),
        ("Aligned base", f"{_model(found.models.base)}; compared with, no part of the model"),
        ("Lineage", found.models.lineage or NOT_RECORDED),
    ])  # fmt: skip
    contract = found.evidence.contract
    yield Point("1(e)", "Modality and format", [
        ("Input and output", "Text in, text out, through the checkpoint's chat template."),
        ("Chat template", f"SHA-256 {contract.template}"),
        ("Tokenizer", f"SHA-256 {contract.tokenizer}"),
    ])  # fmt: skip
    yield Point("1(f)", "Licence", [
        ("Adapter", _said(people.licence, "licence")),
        ("Modified model", f"{NOT_RECORDED} It is that of its checkpoint's provider."),
    ])  # fmt: skip


def _detailed(found: Documented, costs: Costs) -> Iterator[Point]:
    """Yield point 2: how the modification was made."""
    adapter = found.adapter
    lora = read_json(adapter.adapter / "adapter_config.json")
    versions = costs.get("train", {}).get("versions", {})
    yield Point("2(a)", "What it takes to use it", [
        ("Format", "A PEFT adapter in safetensors, loaded on top of the modified model."),
        ("Bring it", f"`safereact pull {found.origin.model}@champion DIR`"
         if found.decision.accepted else _unregistered(found)),
        ("Libraries it was trained with",
         ", ".join(f"{name} {number}" for name, number in versions.items()) or NOT_RECORDED),
    ])  # fmt: skip
    yield Point("2(b)", "Design and training", [
        ("Method", f"{adapter.method}, with the teacher {adapter.teacher}"),
        ("Optimised for", f"{listed(adapter.losses)}; first and last tenth of the steps: "
         + "; ".join(f"{n} {a:.3f} to {b:.3f}" for n, (a, b) in adapter.losses.items())),
        ("Key choices", f"LoRA rank {lora.get('r')}, alpha {lora.get('lora_alpha')}; target layers "
         f"{', '.join(map(str, adapter.target_layers)) or 'none'}; all others stand in the section "
         f"`train` of the profile {found.origin.profile}"),
        ("Taken", f"{counted(adapter.steps, 'step')}, {adapter.stopped}"),
        ("Code", found.origin.commit or NOT_RECORDED),
    ])  # fmt: skip
    yield Point("2(c)", "Data", list(_data(found)))
    yield Point("2(d)", "Computation", list(_computation(found, costs)))
    yield Point("2(e)", "Energy", [
        ("Consumption", "Not measured. Point 2(d) has what it may be estimated from."),
    ])  # fmt: skip


def _unregistered(found: Documented) -> str:
    return (
        f"None: the gate's outcome is {found.decision.outcome}, so this adapter is not registered."
    )


def _model(ref: ModelRef) -> str:
    name = ref.location if ref.where == "hub" else "a local checkpoint"
    revision = f", revision {ref.revision}" if ref.revision else ""
    return (
        f"{name}{revision}: {ref.architecture}, {ref.parameters:,} parameters, {ref.layers} layers "
        f"of {ref.hidden}, SHA-256 {ref.digest}"
    )


def _data(found: Documented) -> Iterator[Fact]:
    prompts, adapter = found.prompts, found.adapter
    for source in prompts.sources:
        yield (
            f"Source {source.name}",
            f"{source.licence}; {source.read} rows read, {source.kept} kept, {source.quarantined} "
            f"quarantined, {prompts.overlap.get(source.name, 0)} dropped because a test prompt "
            f"repeats them; digest or revision {source.digest}",
        )
    for name, suite in prompts.suites.items():
        yield (
            f"Test suite {name}",
            f"{suite.origin}, {suite.licence}; {suite.prompts} {suite.role} prompts, nothing is "
            f"trained on them; digest or revision {suite.digest}",
        )
    for split in Split:
        counts = prompts.counts.get(split, {})
        yield f"Prompts, {split}", ", ".join(f"{n} {role}" for role, n in counts.items()) or "none"
    rows = f"{adapter.harmful_rows} harmful rows, {adapter.retain_rows} harmless ones that it keeps"
    yield "Trained on", rows
    yield (
        "Curation",
        f"{prompts.expectations} expectations held; whole topics go into one split; rows that "
        "repeat a test prompt are dropped",
    )
    yield "Biases", "Not looked for, but for refusals of harmless requests (below)."
    yield "Prompts that train", f"SHA-256 {prompts.digest_of_prompts}"
    yield "Its own test prompts", f"SHA-256 {prompts.digest_of_tests}"


def _computation(found: Documented, costs: Costs) -> Iterator[Fact]:
    adapter = found.adapter
    yield "Tokens of the adapter's training", f"{adapter.tokens:,}, padding left out"
    yield "Tokens of the baseline's training", f"{adapter.baseline_tokens:,}; for comparison alone"
    yield "Floating-point operations", "Not counted."
    for stage, cost in costs.items():
        seconds = f"{cost['seconds']:,.0f} s, {cost['processor_seconds']:,.0f} s of processors"
        memory = f"at most {cost['peak_memory_mib']:,} MiB"
        yield f"Stage {stage}", f"{seconds}, {memory}; {cost['machine']}"
    if not costs:
        yield "Time and machine", f"{NOT_RECORDED} No run here wrote these results."
    for judge, use in found.evidence.usage.items():
        tokens = use.prompt_tokens + use.completion_tokens
        yield f"Judge {judge}", f"{use.requests:,} requests, {tokens:,} tokens, on a server"


def _measured(found: Documented) -> Iterator[Fact]:
    """Yield the rates that the gate decided on or that people read first, with their intervals."""
    rates = found.evidence.rates
    ruled = {rule.metric for rule in found.decision.rules if rule.threshold is not None}
    for metric in in_order(ruled & rates.get(Arm.RESTORED, {}).keys()):
        parts = [
            f"{arm} {percent(rate.rate)} {interval(rate.low, rate.high)}, "
            f"n={in_words(rate.n, rate.clusters)}"
            for arm in (Arm.BASE, Arm.POST_TRAINED, Arm.RESTORED)
            if (rate := rates.get(arm, {}).get(metric))
        ]
        yield metric, "; ".join(parts)
    yield "Intervals", f"{100 * found.evidence.confidence:g} %, as judged; n: prompts"
    yield "Judged by", ", ".join(sorted({short_digest(j) for j in found.evidence.judges.values()}))
