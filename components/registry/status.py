"""What the aliases of a registered model point to, and whether that can be relied on."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from components.core.errors import EvidenceError, RegistryError
from components.registry.changes import Change, chain_of, withdrawal_of
from components.registry.history import check_decided_on
from components.registry.mlflow_registry import CANDIDATE, CHAMPION, Model, Registry
from components.registry.release import reported_figures
from components.registry.verification import signed_history, verify_version
from components.registry.watches import Watched, watches_of


@dataclass(frozen=True, slots=True)
class AliasStatus:
    """What an alias points to, with the version's figures and, of a champion, its last change."""

    alias: str
    version: str | None  # None: there is no champion any more
    adapter: str
    figures: dict[str, float]  # "arm/metric", with .low, .high and .n
    change: Change | None
    problems: tuple[str, ...] = ()  # why it cannot be relied on
    watched: Watched | None = None  # of a champion: what its last watch found
    notes: tuple[str, ...] = ()  # of the model: signatures and keys that cannot be read


def status(registry: Registry, name: str) -> list[AliasStatus]:
    """Return what `champion` and `candidate` point to, the champion first; none: empty.

    The figures are those of the version's own evidence; of one that cannot be relied on there are
    none, and its problems say why. A champion that was withdrawn, or whose alias is gone, is one
    without a version.
    """
    model = registry.find_model(name)
    if model is None:
        return []
    number = model.aliases.get(CHAMPION)
    change, problems = None, []
    notes: tuple[str, ...] = ()
    try:
        changes = chain_of(model.tags).changes
        ours = [one for one in changes if one.version == number and one.moves]
        change = ours[-1] if ours else withdrawal_of(changes)
        notes = tuple(signed_history(registry, name).damaged)
    except (RegistryError, EvidenceError) as error:
        problems.append(str(error))
    found = []
    if number or change or problems:
        found.append(_alias_status(registry, model, CHAMPION, change, problems))
    if CANDIDATE in model.aliases:
        found.append(_alias_status(registry, model, CANDIDATE, None, []))
    return [replace(one, notes=notes) for one in found]


def _alias_status(
    registry: Registry, model: Model, alias: str, change: Change | None, problems: list[str]
) -> AliasStatus:
    number = model.aliases.get(alias)
    if number is None:
        return AliasStatus(alias, None, "", {}, change, tuple(problems))
    version = registry.version(model.name, number)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        try:
            verified = verify_version(registry, version, Path(scratch))
            check_decided_on(version, alias, chain_of(model.tags))
            figures = reported_figures(verified.decision, verified.evidence)
        except RegistryError as error:
            if str(error) not in problems:
                problems.append(str(error))
    watches = watches_of(registry, model.name, version.adapter) if alias == CHAMPION else []
    last = watches[-1] if watches else None
    return AliasStatus(alias, number, version.adapter, figures, change, tuple(problems), last)
