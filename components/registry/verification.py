"""Whether a registered version can be relied on: one check for everybody who reads one.

Whoever can write to a store can make a version by hand, give it tags and move an alias. So nothing
of a version is used before its files are those that were registered, its decision accepts it when
it is made again from the evidence beside it, and the alias `champion` is where the history left it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from components.core import paths as names
from components.core.errors import EvidenceError, RegistryError, StageError
from components.core.storage import digest_bytes, digest_file, digest_folder
from components.evaluate.result import Evidence
from components.gate.decision import check_decides_alike, make_decision
from components.gate.policy import Policy
from components.gate.result import Decision
from components.models.result import Models
from components.prepare.result import SuiteSet
from components.registry.entries import Model, Version
from components.registry.history import champions, decode
from components.registry.mlflow_registry import CHAMPION, EVIDENCE, Registry
from components.train.result import Adapter

CARD, POLICY = "model_card.md", "policy.json"
# The tag that keeps the digest of each file that people read or rely on; `none`: no such file.
DIGESTS = {
    "decision_digest": names.DECISION,
    "evidence_digest": names.METRICS,
    "card_digest": CARD,
    "report_digest": names.REPORT,
}
OF_ALL = "evidence_files"  # the tag with the digest of the whole folder
_REMEDY = "register the adapter anew with `safereact run`"


@dataclass(frozen=True, slots=True)
class Verified:
    """A version whose files were found to be what was registered and accepted."""

    version: Version
    adapter: Path  # the folder it was brought to
    decision: Decision
    evidence: Evidence


def evidence_tags(folder: Path) -> dict[str, str]:
    """Return the digests of a version's evidence as tags: of each file in `DIGESTS`, and of all."""
    files = {key: folder / name for key, name in DIGESTS.items()}
    tags = {key: digest_file(path) if path.is_file() else "none" for key, path in files.items()}
    return {**tags, OF_ALL: digest_folder(folder)}


def verify_version(registry: Registry, version: Version, folder: Path) -> Verified:
    """Return a version after bringing its adapter and its evidence into `folder`.

    Raises `RegistryError` where the gate did not accept it, its adapter or a file of its evidence
    is not what was registered, or its decision, made again from that evidence, is another one.
    """
    what = f"{version.name} version {version.number}"
    if version.tags.get("gate") != "accepted":
        raise RegistryError(
            f"{what} was not accepted by the gate (tag gate = {version.tags.get('gate')!r}); only "
            "accepted adapters become champion or are brought back"
        )
    adapter = registry.fetch(version, folder)
    evidence = folder / EVIDENCE
    _check_digests(version, what, evidence_tags(evidence))
    try:
        decision, found = Decision.load(evidence), Evidence.load(evidence)
        if not decision.accepted:
            raise RegistryError(f"{what} carries a decision that says {decision.outcome}")
        again = _decided_again(decision, found, digest_folder(adapter))
        check_decides_alike(decision, again, where=f"the decision of {what}")
    except (StageError, EvidenceError, ValidationError) as error:
        raise RegistryError(f"{what} cannot be relied on: {error}; {_REMEDY}") from error
    said = {
        "adapter_digest": decision.adapter,
        "evidence_digest": decision.evidence,
        "policy_digest": decision.policy,
        "data_digest": decision.data,
        "engine": found.engine,
    }
    _check_digests(version, what, said)
    return Verified(version, adapter, decision, found)


def _check_digests(version: Version, what: str, found: dict[str, str]) -> None:
    for key, digest in found.items():
        if key not in version.tags:
            raise RegistryError(
                f"{what} has no tag {key}, so nobody knows what was registered: it was made by "
                f"hand or by an earlier release; {_REMEDY}"
            )
        if version.tags[key] != digest:
            raise RegistryError(
                f"{key} of {what} is {version.tags[key]}, but its files say {digest}; they were "
                f"changed after registration; {_REMEDY}"
            )


def _decided_again(decision: Decision, evidence: Evidence, adapter_files: str) -> Decision:
    """Return the decision that follows from a version's evidence, under its own policy and with the
    overrides that it rests on; whether those still hold is asked where it matters."""
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
        SuiteSet.load(folder),
        Models.load(folder),
        Adapter.load(folder),
        evidence,
        adapter_files=adapter_files,
        rows_file=evidence.rows,
        policy_digest=decision.policy,
    )


def check_history(model: Model) -> None:
    """Raise `RegistryError` unless the alias `champion` is where the history left it."""
    alias, entries = model.aliases.get(CHAMPION), decode(model.tags)
    left = champions(entries)[-1:]
    if left != [alias] and (left or alias):
        where = f"at version {alias}" if alias else "gone"
        history = f"made version {left[0]} champion" if left else "knows of no champion"
        raise RegistryError(
            f"the alias champion of {model.name} is {where}, but the history {history}: it was "
            "moved by hand, or a promotion or rollback was cut off; `safereact promote` or "
            "`safereact rollback` puts it in order"
        )
