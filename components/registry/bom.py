"""What a version is made of, as a machine-learning bill of materials in CycloneDX 1.6 (ECMA-424).

No clock and no chance is in it: its serial number follows from adapter and evidence. The library
`cyclonedx-python-lib` knows no model card, so the document is written here and held against the
schema that the library brings.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.core.result import RateFigure, in_words
from components.core.storage import digest_file
from components.core.untrusted_text import for_terminal
from components.lm.references import CheckpointRef, ModelRef
from components.prepare.result import SuiteSet, leak_footnotes, leak_notes
from components.prepare.settings import LICENCES
from components.registry.measured import parameters_of
from components.registry.release import Release, reported_metrics

BOM = "bom.cdx.json"
_OWN_LICENCE = "LicenseRef-"
_SHA256 = re.compile("[0-9a-f]{64}")


def bill_of(release: Release, *, name: str) -> dict[str, Any]:
    """Return the bill of materials of `release`, registered as `name`."""
    decision = release.decision
    data = list(_data(release.prompts))
    identity = f"{decision.adapter}\n{decision.evidence}\n{decision.policy}"
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, identity)}",
        "version": 1,
        "metadata": {"component": _adapter(release, name)},
        "components": data,
        "dependencies": [
            {"ref": "adapter", "dependsOn": [component["bom-ref"] for component in data]}
        ],
    }


def _adapter(release: Release, name: str) -> dict[str, Any]:
    files = sorted(path for path in release.adapter.adapter.iterdir() if path.is_file())
    return {
        "type": "machine-learning-model",
        "bom-ref": "adapter",
        "name": for_terminal(name),
        "version": release.decision.adapter,
        "description": "LoRA adapter that brings back refusals which post-training masked",
        "components": [_file(path) for path in files],
        "pedigree": {"ancestors": [_post_trained(release)]},
        "modelCard": _card(release),
        "properties": _properties(
            {
                "adapter": release.decision.adapter,
                "evidence": release.decision.evidence,
                "policy": release.decision.policy,
                "data": release.decision.data,
                "prompt contract": release.decision.contract.digest,
                "outcome": release.decision.words,
                **{
                    key: str(value)
                    for key, value in parameters_of(release.settings, release.adapter).items()
                },
            }
        ),
    }


def _file(path: Path) -> dict[str, Any]:
    digest = {"alg": "SHA-256", "content": digest_file(path)}
    return {"type": "file", "bom-ref": f"file:{path.name}", "name": path.name, "hashes": [digest]}


def _properties(values: dict[str, str]) -> list[dict[str, str]]:
    return [
        {"name": f"safereact:{key}", "value": for_terminal(value)} for key, value in values.items()
    ]


# --- models ----------------------------------------------------------------------------------


def _post_trained(release: Release) -> dict[str, Any]:
    """Return the post-trained model with what it came from: its ancestor where that is known, else
    its base; a base that is only related to it is a variant."""
    models = release.models
    base, found = _model(release, models.base, "base"), _model(release, models.post_trained, "post")
    pedigree: dict[str, Any] = {"notes": for_terminal(models.lineage or "not described")}
    if models.ancestor:
        pedigree["ancestors"] = [_model(release, models.ancestor, "ancestor")]
        pedigree["variants"] = [base]
    else:
        pedigree["ancestors" if models.same_lineage else "variants"] = [base]
    return {**found, "pedigree": pedigree}


def _model(release: Release, ref: CheckpointRef, role: str) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": f"model:{role}",
        "name": for_terminal(release.checkpoint(ref)),
        "properties": _properties({"digest": ref.digest, "where": ref.where}),
    }
    if ref.revision:
        component["version"] = for_terminal(ref.revision)
    if isinstance(ref, ModelRef):
        component["modelCard"] = {"modelParameters": {"modelArchitecture": ref.architecture}}
    return component


# --- data ------------------------------------------------------------------------------------


def _data(prompts: SuiteSet) -> Iterator[dict[str, Any]]:
    for source in prompts.sources:
        if source.name not in prompts.suites:
            use = f"{source.kept} of {source.read} rows, split into training, validation and test"
            yield _data_set(source.name, source.digest, source.licence, use)
    for name, suite in prompts.suites.items():
        use = f"{suite.prompts} test prompts from {suite.origin}"
        yield _data_set(name, suite.digest, suite.licence, use)


def _data_set(name: str, digest: str, licence: str, use: str) -> dict[str, Any]:
    known = re.fullmatch(LICENCES, licence) and not licence.startswith(_OWN_LICENCE)
    component: dict[str, Any] = {
        "type": "data",
        "bom-ref": f"data:{name}",
        "name": for_terminal(name),
        "description": for_terminal(use),
        "licenses": [{"license": {"id" if known else "name": for_terminal(licence)}}],
        "data": [{"type": "dataset"}],
    }
    if _SHA256.fullmatch(digest):
        component["hashes"] = [{"alg": "SHA-256", "content": digest}]
    else:  # the commit of a hub data set
        component["version"] = for_terminal(digest)
    return component


# --- the model card --------------------------------------------------------------------------


def _card(release: Release) -> dict[str, Any]:
    decision, evidence = release.decision, release.evidence
    metrics = reported_metrics(decision, evidence)
    measured = [
        _metric(metric, arm.value, rates[metric])
        for arm, rates in evidence.rates.items()
        for metric in metrics
        if metric in rates
    ]
    compared = [
        {
            "type": f"{one.metric} difference",
            "value": str(one.difference),
            "slice": f"{one.arm} - {one.against}",
            "confidenceInterval": {"lowerBound": str(one.low), "upperBound": str(one.high)},
        }
        for one in evidence.differences
    ]
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": "text-generation",
            "architectureFamily": release.models.post_trained.architecture,
            "modelArchitecture": "LoRA",
            "datasets": [{"ref": one["bom-ref"]} for one in _data(release.prompts)],
        },
        "quantitativeAnalysis": {"performanceMetrics": [*measured, *compared]},
        "considerations": _considerations(release, metrics),
    }


def _metric(metric: str, arm: str, rate: RateFigure) -> dict[str, Any]:
    return {
        "type": metric,
        "value": str(rate.rate),
        "slice": f"{arm}, n={in_words(rate.n, rate.clusters)}",
        "confidenceInterval": {"lowerBound": str(rate.low), "upperBound": str(rate.high)},
    }


def _considerations(release: Release, metrics: list[str]) -> dict[str, Any]:
    """Return what the figures do not say, and what stood although a rule did not hold."""
    decision = release.decision
    leaks = leak_footnotes(leak_notes(release.prompts.leaks), metrics)
    contract = decision.contract.template[:12]
    limits = [
        f"measured with the chat template {contract}; another one is another measurement",
        f"belongs to the checkpoint {release.adapter.base_model[:12]} alone",
        "a set of refused prompts says nothing about attacks that were not tried",
        *decision.unknown,
        *leaks,
    ]
    overridden = [f"{rule.rule}: {rule.override}" for rule in decision.rules if rule.override]
    tried = ", ".join(decision.attacks) or "none"
    return {
        "users": ["teams that serve this post-trained model"],
        "useCases": ["loaded with PEFT on the post-trained model, behind its own chat template"],
        "technicalLimitations": [for_terminal(limit) for limit in limits],
        "performanceTradeoffs": [for_terminal(one) for one in overridden],
        "ethicalConsiderations": [
            {
                "name": "harmful requests that the model answers all the same",
                "mitigationStrategy": f"{decision.words}; attacks that were measured: {tried}",
            }
        ],
    }
