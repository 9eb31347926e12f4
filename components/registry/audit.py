"""From a registered version through all that it rests on, one link after another."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from components.core.errors import EvidenceError, SafeReActError
from components.core.paths import OVERRIDES, Workspace
from components.gate.overrides import check_overrides
from components.gate.policy import Policy
from components.gate.result import Decision
from components.models.result import Models
from components.prepare.result import SuiteSet
from components.registry.changes import refusal_of
from components.registry.current import Current, recount_here
from components.registry.delivery import find_version
from components.registry.mlflow_registry import CHAMPION, EVIDENCE, Registry, Version
from components.registry.people import check_card, registrant
from components.registry.signatures import (
    check_signed,
    damaged,
    known_keys,
    passed_over,
    pinned_keys,
    signed_beside,
)
from components.registry.sources import NOT_PUSHED, PUSHED
from components.registry.verification import POLICY, signed_history, verify_version
from components.train.result import Adapter


class Link(NamedTuple):
    """Something that a version rests on, and that it holds."""

    name: str
    found: str


class BrokenLink(EvidenceError):
    """Something that a version rests on does not hold; `link` names it and says why."""

    def __init__(self, link: Link) -> None:
        """Say so in one line."""
        super().__init__(f"{link.name}: {link.found}")
        self.link = link


class _Audited(NamedTuple):
    """A version whose files are what was registered, and what a repository has beside it."""

    registry: Registry
    version: Version
    folder: Path  # its files
    decision: Decision
    current: Current | None  # None: its profile is not here


def audit_version(registry: Registry, name: str, alias: str) -> Iterator[Link]:
    """Yield what the version that `alias` (or its number) names rests on, once each holds.

    Raises `BrokenLink` for the first that does not.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with _names(alias):
            version = find_version(registry, name, alias)
        where = ", where the history left it" if alias == CHAMPION else ""
        yield Link(alias, f"{version}{where}")
        with _names("decision"):
            decision = verify_version(registry, version, folder).decision
            check_overrides(decision, registry.root / OVERRIDES)
            audited = _Audited(registry, version, folder, decision, _current(registry, version))
        yield Link("decision", f"{decision.words}; made again from evidence and policy")
        for link, look in _LINKS.items():
            with _names(link):
                found = look(audited)
            yield Link(link, found)


@contextmanager
def _names(link: str) -> Iterator[None]:
    """Let what goes wrong within the block name the link."""
    try:
        yield
    except SafeReActError as error:
        raise BrokenLink(Link(link, str(error))) from error


def _current(registry: Registry, version: Version) -> Current | None:
    workspace = Workspace(registry.root, version.tags.get("profile", ""))
    return Current.of(workspace) if workspace.profile_file.is_file() else None


def _policy(audited: _Audited) -> str:
    digest, current = audited.decision.policy, audited.current
    now = "its profile is not here" if current is None else f"that of {current.profile.name} now"
    if current is not None and current.policy.digest != digest:
        now = f"{current.profile.name} has another now, {current.policy.digest:.12}"
    return f"{digest:.12}; {now}"


def _adapter(audited: _Audited) -> str:
    trained = Adapter.load(audited.folder / EVIDENCE)
    return (
        f"{audited.decision.adapter:.12} in files, tag, decision and history; trained by "
        f"{trained.method} from {trained.teacher}"
    )


def _rows(audited: _Audited) -> str:
    counted = audited.current is not None and recount_here(audited.decision, audited.current)
    if counted:
        return "every figure counted again"
    version = audited.version
    pushed = version.tags.get(PUSHED, NOT_PUSHED)
    brings = f"`safereact restore {version.name}@{version.number}` brings them"
    where = "not pushed" if pushed == NOT_PUSHED else brings
    return f"not here; figures not counted again; {where}"


def _data(audited: _Audited) -> str:
    prompts = SuiteSet.load(audited.folder / EVIDENCE)
    sources = ", ".join(f"{one.name} {one.digest:.12} ({one.licence})" for one in prompts.sources)
    return f"{prompts.digest:.12} of {sources}"


def _models(audited: _Audited) -> str:
    models, tags = Models.load(audited.folder / EVIDENCE), audited.version.tags
    found = {"base": models.base, "post_trained": models.post_trained, "ancestor": models.ancestor}
    refs = {role: ref for role, ref in found.items() if ref is not None}
    for role, ref in refs.items():
        if tags.get(f"{role}_digest") != ref.digest:
            raise EvidenceError(
                f"tag {role}_digest is {tags.get(f'{role}_digest')}, and the evidence {ref.digest}"
            )
    return ", ".join(f"{role} {ref.location} {ref.digest:.12}" for role, ref in refs.items())


def _code(audited: _Audited) -> str:
    """Return the commit, which the model card has as well: the card is part of what is signed."""
    commit, changed = (audited.version.tags.get(f"git_{key}", "") for key in ("commit", "changed"))
    for key, value in (("git_commit", commit), ("git_changed", changed)):
        check_card(audited.folder, key, value)
    return f"commit {commit}{', with changes that are in no commit' if changed == 'true' else ''}"


def _registered(audited: _Audited) -> str:
    user = registrant(audited.version, audited.folder)
    return f"by MLflow user {user}" if user else "by nobody whom a server verified"


def _signature(audited: _Audited) -> str:
    root, folder = audited.registry.root, audited.folder
    policy = Policy.model_validate_json((folder / EVIDENCE / POLICY).read_bytes())
    if policy.signed_by:
        signed = check_signed(folder, pinned_keys(root, policy.signed_by))
        by = f"by {', '.join(signed)}, as its policy asks"
        return "; ".join([by, *damaged(folder, known_keys(root)), *passed_over(root)])
    return f"{signed_beside(folder, root)}; its policy asks for none"


def _history(audited: _Audited) -> str:
    chain, heads, broken = signed_history(audited.registry, audited.version.name)
    number = audited.version.number
    if refusal := refusal_of(chain.changes, number, audited.version.adapter):
        raise EvidenceError(f"version {number} was {refusal} (change {refusal.number})")
    ours = [(n, one) for n, one in enumerate(chain.changes, 1) if one.version == number]
    said = f"version {number} {ours[-1][1]}" if ours else f"nobody decided on version {number}"
    vouched = max((chain.digests.index(head.digest) for head in heads), default=0)
    behind = ours and vouched < ours[-1][0]
    note = ", which no signature covers yet (`safereact sign`)" if behind else ""
    return "; ".join([f"whole, {chain.size}, head {chain.head:.12}", f"{said}{note}", *broken])


_LINKS: dict[str, Callable[[_Audited], str]] = {
    "policy": _policy,
    "adapter": _adapter,
    "rows": _rows,
    "data": _data,
    "models": _models,
    "code": _code,
    "registered": _registered,
    "signature": _signature,
    "history": _history,
}
