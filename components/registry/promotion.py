"""Who is champion: promotion, rollback, status, and bringing an adapter back.

The ledger's entry is written before the alias moves, so that no champion is without who and why.
How one of several calls at once gets to write is told in `moves`.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from components.core import paths as names
from components.core.errors import RegistryError
from components.core.paths import Workspace
from components.gate.overrides import check_overrides
from components.registry.bindings import check_current, found_beside, policy_in_force
from components.registry.champion import check_champion
from components.registry.entries import Model, Version
from components.registry.history import (
    PROMOTED,
    ROLLED_BACK,
    Entry,
    decode,
    earlier_champions,
    new_entry,
)
from components.registry.mlflow_registry import CANDIDATE, CHAMPION, Registry
from components.registry.moves import Ledger, follow, look_still, move
from components.registry.recount import recount_beside
from components.registry.release import reported_figures
from components.registry.verification import check_history, verify_version


@dataclass(frozen=True, slots=True)
class AliasStatus:
    """What an alias points to, with the version's figures and, of a champion, its last entry."""

    alias: str
    version: str
    adapter: str
    figures: dict[str, float]  # "arm/metric", with .low, .high and .n
    entry: Entry | None
    problems: tuple[str, ...] = ()  # why it cannot be relied on


def promote(
    registry: Registry, name: str, version: str | None = None, *, by: str, why: str
) -> Entry:
    """Make a version (None: the candidate) champion; return its entry in the ledger.

    Promoting the champion again changes nothing and returns the entry there is. Raises
    `RegistryError` for a version that the gate did not accept or whose files are not what was
    registered, and where somebody else moves the alias meanwhile; `EvidenceError` where policy,
    champion, judges, data or prompt contract are not those it was accepted under, as far as they
    are here, or an override has ended or was withdrawn.
    """
    ledger = look_still(registry, name)
    version = version or ledger.model.aliases.get(CANDIDATE)
    if version is None:
        raise RegistryError(f"{name} has no candidate; `safereact run` registers one")
    _verify(registry, registry.version(name, version), current=True)
    last, entry = ledger.last, new_entry(PROMOTED, version, ledger.champion, by=by, why=why)
    if last and last.version == version and (last.event == PROMOTED or ledger.followed):
        return follow(registry, name, last)
    return move(registry, ledger, entry)


def rollback(registry: Registry, name: str, *, by: str, why: str) -> Entry:
    """Give `champion` back to the version that had it before; return the entry.

    Versions deleted since are passed over, and those with the very adapter that is to go. Going
    back must be possible under a policy or champion that is newer than the version, so those
    bindings are not looked at. Raises `RegistryError` where there is no earlier champion, and
    otherwise as `promote`.
    """
    ledger = look_still(registry, name)
    target = _earlier(registry, ledger)
    _verify(registry, registry.version(name, target), current=False)
    last, entry = ledger.last, new_entry(ROLLED_BACK, target, ledger.champion, by=by, why=why)
    if last and (last.event, last.version) == (ROLLED_BACK, target):  # it was cut off
        return follow(registry, name, last)
    return move(registry, ledger, entry)


def _earlier(registry: Registry, ledger: Ledger) -> str:
    """Return the version that a rollback goes to; raises `RegistryError` where there is none."""
    name, champion = ledger.model.name, ledger.champion
    there = registry.numbers(name)
    now = _adapter(registry, name, champion) if champion in there else None
    for number in earlier_champions(ledger.entries, champion, there):
        if now is None or _adapter(registry, name, number) != now:
            return number
    raise RegistryError(
        f"{name} has no earlier champion than version {champion or 'none'} to go back to; "
        "`safereact promote` makes another version champion"
    )


def _adapter(registry: Registry, name: str, number: str) -> str | None:
    return registry.version(name, number).tags.get("adapter_digest")


def status(registry: Registry, name: str) -> list[AliasStatus]:
    """Return what `champion` and `candidate` point to, the champion first; none: empty.

    The figures are those of the version's own evidence; of one that cannot be relied on there are
    none, and its problems say why.
    """
    model = registry.find_model(name)
    aliases = model.aliases if model else {}
    pointed = [(a, aliases[a]) for a in (CHAMPION, CANDIDATE) if a in aliases]
    return [_alias_status(registry, model, *one) for one in pointed if model]


def _alias_status(registry: Registry, model: Model, alias: str, number: str) -> AliasStatus:
    version, problems = registry.version(model.name, number), []
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        try:
            verified = verify_version(registry, version, Path(scratch))
            figures = reported_figures(verified.decision, verified.evidence)
        except RegistryError as error:
            problems.append(str(error))
    moves: list[Entry] = []
    if alias == CHAMPION:
        moves = [entry for entry in decode(model.tags) if entry.version == number]
        try:
            check_history(model)
        except RegistryError as error:
            problems.append(str(error))
    return AliasStatus(
        alias=alias,
        version=number,
        adapter=version.tags.get("adapter_digest", ""),
        figures=figures,
        entry=moves[-1] if moves else None,
        problems=tuple(problems),
    )


def pull(registry: Registry, name: str, alias: str, folder: Path) -> str:
    """Write the adapter that `alias` (or a version's number) names into `folder`, ready for PEFT;
    return the version's number.

    The files are fetched beside `folder`, verified and moved there in one step. Raises
    `RegistryError` for a folder that is not empty, an unknown name or alias, an alias `champion`
    that is not where the history left it, and a version that cannot be relied on.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RegistryError(f"{folder} is not an empty folder; give another, or empty it")
    model = registry.model(name)
    number = alias if alias.isdigit() else model.aliases.get(alias)
    if number is None:
        known = ", ".join(sorted(model.aliases)) or "none"
        raise RegistryError(f"{name} has no alias {alias!r}; it has: {known}")
    if alias == CHAMPION:
        check_history(model)
    version = registry.version(name, number)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        # An empty folder is replaced by the rename itself.
        verify_version(registry, version, Path(scratch)).adapter.replace(folder)
    return number


def _verify(registry: Registry, version: Version, *, current: bool) -> None:
    """Raise `RegistryError` unless the version can be relied on, and `EvidenceError` where an
    override has ended or was withdrawn or, with `current`, what the decision is bound to has
    changed or, where the rows are here, the evidence does not follow from them."""
    with tempfile.TemporaryDirectory() as scratch:
        decision = verify_version(registry, version, Path(scratch)).decision
    check_overrides(decision, registry.root / names.OVERRIDES)
    if current:
        workspace = Workspace(registry.root, _profile(version))
        policy = policy_in_force(workspace).digest
        check_current(decision, {**found_beside(decision, workspace), "policy": policy})
        check_champion(registry, version.name, decision)
        recount_beside(decision, workspace)


def _profile(version: Version) -> str:
    """Return the profile whose policy a version is held to."""
    try:
        return version.tags["profile"]
    except KeyError:
        raise RegistryError(
            f"{version.name} version {version.number} has no tag `profile`, so nobody knows which "
            "policy it is held to; only what "
            "`safereact run` registered becomes champion"
        ) from None
