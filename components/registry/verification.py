"""Whether a registered version can be relied on: one check for everybody who reads one.

Whoever can write to a store can make a version by hand, give it tags and move an alias. So nothing
of a version is used before its files are those that were registered, and its decision accepts it
when it is made again from the evidence beside it. Where the alias `champion` was left is checked by
`components.registry.history`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from components.core import paths as names
from components.core.errors import EvidenceError, RegistryError, StageError
from components.core.storage import digest_bytes, digest_file, digest_folder, read_json
from components.evaluate.result import Evidence
from components.gate.checks import GateInputs
from components.gate.decision import check_decides_alike, make_decision
from components.gate.policy import Policy
from components.gate.result import Decision
from components.lm.references import PromptContract
from components.models.result import Models
from components.prepare.result import SuiteSet
from components.registry.changes import HISTORY, Chain, chain_in, chain_of, refusal_of
from components.registry.history import check_history
from components.registry.mlflow_registry import DOWNLOADED, EVIDENCE, SIGNATURES, Registry, Version
from components.registry.signatures import (
    SignedHead,
    check_heads,
    check_signed,
    damaged,
    known_keys,
    passed_over,
    signed_heads,
    warn_of,
)
from components.train.result import Adapter

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey

# What an adapter's folder may hold. Anything else, pickled weights above all, is refused.
ADAPTER_FILES = frozenset({"adapter_config.json", "adapter_model.safetensors", names.CONTRACT})
CARD, POLICY = "model_card.md", "policy.json"
# The tag that keeps the digest of each file that people read or rely on; `none`: no such file.
DIGESTS = {
    "decision_digest": names.DECISION,
    "evidence_digest": names.METRICS,
    "card_digest": CARD,
    "report_digest": names.REPORT,
}
OF_ALL = "evidence_files"  # the tag with the digest of the whole folder
# How MLflow loads a version: by `mlflow_pyfunc`, which checks it first.
LOADER = "MLmodel"
LOADED_BY = """\
flavors:
  python_function:
    loader_module: components.registry.mlflow_pyfunc
signature:
  inputs: '[{"type": "string", "name": "prompt", "required": true}]'
  outputs: '[{"type": "string", "required": true}]'
  params: '[{"name": "max_new_tokens", "default": 256, "shape": null, "type": "long"}, {"name":
    "temperature", "default": 0.0, "shape": null, "type": "double"}]'
"""
_PARTS = {names.ADAPTER, EVIDENCE, SIGNATURES, HISTORY, LOADER, DOWNLOADED}
_REMEDY = "register the adapter anew with `safereact run`"


class Verified(NamedTuple):
    """A version whose files were found to be what was registered and accepted."""

    adapter: Path  # the folder it was brought to
    decision: Decision  # made again: what the stored one says beside its figures may be anything
    evidence: Evidence


def evidence_tags(folder: Path) -> dict[str, str]:
    """Return the digests of a version's evidence as tags: of each file in `DIGESTS`, and of all."""
    files = {key: folder / name for key, name in DIGESTS.items()}
    tags = {key: digest_file(path) if path.is_file() else "none" for key, path in files.items()}
    return {**tags, OF_ALL: digest_folder(folder)}


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


def contract_in(folder: Path) -> PromptContract:
    """Return the prompt contract in an adapter's own folder."""
    stored = folder / names.CONTRACT
    try:
        return PromptContract.model_validate(read_json(stored))
    except ValidationError as error:
        raise EvidenceError(f"{stored} is not a prompt contract: {error}") from error


def verify_version(registry: Registry, version: Version, folder: Path) -> Verified:
    """Return a version after bringing its adapter and its evidence into `folder`.

    Raises `RegistryError` where the gate did not accept it, its adapter or a file of its evidence
    is not what was registered, or its decision, made again from that evidence, is another one.
    """
    if version.tags.get("gate") != "accepted":
        raise RegistryError(
            f"{version} was not accepted by the gate (tag gate = {version.tags.get('gate')!r}); "
            "only accepted adapters become champion or are brought back"
        )
    adapter = registry.fetch(version, folder)
    try:
        check_adapter_files(adapter)
        files = {"adapter_digest": digest_folder(adapter), **evidence_tags(folder / EVIDENCE)}
        _check_tags(version, files)
        verified = verify_files(folder)
    except (StageError, EvidenceError, ValidationError) as error:
        raise RegistryError(f"{version} cannot be relied on: {error}; {_REMEDY}") from error
    about = {
        "adapter_digest": verified.decision.adapter,
        "evidence_digest": verified.decision.evidence,
        "policy_digest": verified.decision.policy,
        "data_digest": verified.decision.data,
        "engine": verified.evidence.engine,
    }
    _check_tags(version, about)
    return verified


def verify_files(folder: Path) -> Verified:
    """Return the version whose adapter and evidence lie in `folder`, by these files alone.

    Raises `EvidenceError` where other files lie beside them, the adapter is not the one that its
    decision is about, or the decision, made again from the evidence, does not accept it or is
    another one; `StageError` or pydantic's `ValidationError` where a file is missing or broken.
    """
    adapter, evidence = folder / names.ADAPTER, folder / EVIDENCE
    check_adapter_files(adapter)
    if odd := sorted({path.name for path in folder.iterdir()} - _PARTS):
        raise EvidenceError(f"{', '.join(odd)} beside it is no part of a version, and unverified")
    loader = folder / LOADER
    if loader.exists() and loader.read_text(encoding="utf-8", errors="replace") != LOADED_BY:
        raise EvidenceError(f"its {LOADER} is not what was registered: it may load other code")
    decision, found = Decision.load(evidence), Evidence.load(evidence)
    if not decision.accepted:
        raise EvidenceError(f"it carries a decision that says {decision.outcome}")
    again = _decided_again(decision, found, digest_folder(adapter))
    check_decides_alike(decision, again, where="its decision")
    return Verified(adapter, again, found)


class SignedHistory(NamedTuple):
    """A history, the heads of it that people signed, and in words what lies with its versions as a
    signature, or among the keys, and cannot be read: what it vouched for nobody knows."""

    chain: Chain
    heads: list[SignedHead]
    damaged: list[str]


def heads_of(registry: Registry, name: str) -> list[SignedHead]:
    """Return the heads of the history of `name` that people signed with its versions, as far as
    their public keys are in the repository; warns of what is damaged."""
    heads, broken = _signed_of(registry, name)
    warn_of(broken)
    return heads


def _signed_of(registry: Registry, name: str) -> tuple[list[SignedHead], list[str]]:
    """Return these heads, and what is damaged."""
    keys = known_keys(registry.root)
    heads: list[SignedHead] = []
    broken = passed_over(registry.root)
    for number in registry.numbers(name) if keys else ():
        with tempfile.TemporaryDirectory() as scratch:
            registry.fetch_signatures(registry.version(name, number), Path(scratch))
            found = signed_heads(Path(scratch), keys)
            broken += [f"version {number}: {one}" for one in damaged(Path(scratch), keys)]
        # Versions of two registered models may be made of the same files.
        heads += [head for head in found if head.model == name]
    return heads, broken


def warn_without_keys(registry: Registry, folder: Path) -> None:
    """Warn of what is damaged among the signatures of a version that lies in `folder`, where the
    repository has no keys and nobody looked at those of all versions."""
    if not known_keys(registry.root):
        warn_of(damaged(folder, {}))


def signed_history(registry: Registry, name: str) -> SignedHistory:
    """Return the history of `name`, the heads of it that people signed, and what is damaged.

    Raises `RegistryError` unless it is whole and the alias `champion` is where it left it, and
    `EvidenceError` where it is not the one that was signed.
    """
    heads, broken = _signed_of(registry, name)  # before the history, which may go on meanwhile
    chain = check_history(registry.model(name))
    check_heads(heads, name, chain)
    return SignedHistory(chain, heads, broken)


def check_history_beside(folder: Path, keys: Mapping[str, SSlibKey], adapter: str) -> str:
    """Return in words what the history beside a version in `folder` says.

    Raises `RegistryError` where it is broken or withdrew the adapter with this digest, and
    `EvidenceError` where it is not the one that one of the `keys` signed.
    """
    heads = signed_heads(folder, keys)
    model, chain = chain_in(folder) or ("", chain_of({}))
    check_heads(heads, model, chain)
    if refusal := refusal_of(chain.changes, "", adapter):
        raise RegistryError(f"adapter {adapter:.12} was {refusal}, as version {refusal.version}")
    if not model:
        return "no history lies beside it"
    unsigned = ", and not signed" if keys else ""  # without keys nobody looked
    signed = f", and goes on from the {len(heads)} that was signed" if heads else unsigned
    return f"the history of {model} is whole: {chain.size}{signed}"


def check_version_signed(version: Version, folder: Path, keys: Mapping[str, SSlibKey]) -> None:
    """Raise `EvidenceError` unless one of the `keys` signed a version that lies in `folder`."""
    try:
        check_signed(folder, keys)
    except EvidenceError as error:
        raise EvidenceError(
            f"{version} is not signed by a key that is asked for ({', '.join(keys)}): {error}; "
            f"who vouches for it runs `safereact sign {version.name}@{version.number} --key FILE`"
        ) from error


def _check_tags(version: Version, found: Mapping[str, str]) -> None:
    for key, digest in found.items():
        if key not in version.tags:
            raise RegistryError(
                f"{version} has no tag {key}, so nobody knows what was registered: it was made by "
                f"hand; {_REMEDY}"
            )
        if version.tags[key] != digest:
            raise RegistryError(
                f"{key} of {version} is {version.tags[key]}, but its files say {digest}; they were "
                f"changed after registration; {_REMEDY}"
            )


def _decided_again(decision: Decision, evidence: Evidence, adapter_files: str) -> Decision:
    """Return the decision that follows from a version's evidence, under its own policy and with the
    overrides that it rests on; whether those still hold is checked where it matters."""
    folder = evidence.folder
    try:
        stored = (folder / POLICY).read_bytes()
    except OSError as error:
        raise EvidenceError(f"it has no policy that can be read: {error}") from error
    if digest_bytes(stored) != decision.policy:
        raise EvidenceError(f"its {POLICY} is not the policy that its decision is about")
    return make_decision(
        Policy.model_validate_json(stored),
        [outcome.override for outcome in decision.rules if outcome.override],
        GateInputs(
            SuiteSet.load(folder),
            Models.load(folder),
            Adapter.load(folder),
            evidence,
            adapter_files=adapter_files,
            rows_file=evidence.rows,
            labelled=decision.labelled,
            withstood=decision.withstood,
        ),
        policy_digest=decision.policy,
    )
