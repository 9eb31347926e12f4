"""What a person who is asked to approve a version is shown of it, as Markdown."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from components.core.errors import RegistryError
from components.core.paths import Workspace
from components.core.untrusted_text import for_markdown
from components.core.vocabulary import Arm
from components.registry.changes import PROMOTED, new_change
from components.registry.current import Current
from components.registry.measured import HEADLINE
from components.registry.mlflow_registry import CHAMPION, Registry, Version
from components.registry.people import check_two_people, registrant
from components.registry.release import figure
from components.registry.signatures import signed_beside
from components.registry.verification import Verified, signed_history, verify_version

_COMPARED = (
    *("adapter_digest", "data_digest", "policy_digest", "prompt_template", "engine"),
    *("base_revision", "post_trained_revision", "attacks", "overrides", "git_commit"),
)


def describe_candidate(registry: Registry, version: Version) -> str:
    """Return a version's number, decision, signatures and registrant, and its figures beside those
    of the champion, with what else is another between them.

    Raises `RegistryError` where the version cannot be relied on, and `EvidenceError` where its
    policy asks for two people, whom no form shows.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        verified = verify_version(registry, version, folder)
        _check_form_suffices(registry, version, folder)
        who = registrant(version, folder)
        facts = [
            f"Make **{for_markdown(version.name)}** version {version.number} champion?",
            f"The gate: {for_markdown(verified.decision.words)}.",
            f"Registered by: {for_markdown(f'MLflow user {who}' if who else 'not verified')}.",
            f"Signature: {for_markdown(signed_beside(folder, registry.root))}.",
        ]
    damaged = signed_history(registry, version.name).damaged
    facts += [f"Of the history: {for_markdown(one)}." for one in damaged]
    champion = registry.version_at(version.name, CHAMPION)
    return "\n\n".join([*facts, *_beside(registry, version, verified, champion)])


def _check_form_suffices(registry: Registry, version: Version, folder: Path) -> None:
    if "profile" in version.tags:
        policy = Current.of(Workspace(registry.root, version.tags["profile"])).policy
        if policy.two_people:
            someone = {"by": "who answers the form", "why": "nobody was asked yet"}
            change = new_change(PROMOTED, version.number, None, **someone)
            check_two_people(registry, version, folder, change)


def _beside(
    registry: Registry, version: Version, verified: Verified, champion: Version | None
) -> Iterator[str]:
    """Yield the figures of both and what is another between them; of an unreliable champion why."""
    other: Verified | None = None
    if champion is None:
        yield "There is no champion to compare it with."
    else:
        with tempfile.TemporaryDirectory() as scratch:
            try:
                other = verify_version(registry, champion, Path(scratch))
            except RegistryError as error:
                yield for_markdown(str(error))
    title = f"champion, version {champion.number}" if champion else "champion"
    yield _table(
        f"| refused, solved | version {version.number} | {title} |", _figures(verified, other)
    )
    if champion is not None:
        yield _table(f"| | version {version.number} | {title} |", _changes(version, champion))


def _table(head: str, rows: Iterator[str]) -> str:
    return "\n".join([head, "|---|---|---|", *rows])


def _figures(verified: Verified, other: Verified | None) -> Iterator[str]:
    mine, theirs = (
        one.evidence.rates.get(Arm.RESTORED, {}) if one else {} for one in (verified, other)
    )
    for metric in dict.fromkeys((*HEADLINE, *(rule.metric for rule in verified.decision.rules))):
        cells = [
            for_markdown(figure(side[metric])) if metric in side else "–" for side in (mine, theirs)
        ]
        if metric in mine:
            yield f"| {for_markdown(metric)} | {' | '.join(cells)} |"


def _changes(version: Version, champion: Version) -> Iterator[str]:
    for key in _COMPARED:
        now, before = version.tags.get(key, "none"), champion.tags.get(key, "none")
        if now != before:
            yield f"| {for_markdown(key)} | {for_markdown(now)} | {for_markdown(before)} |"
