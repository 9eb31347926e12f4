"""Who is champion: promotion, rollback, and what a person turns down.

The change is written into the history before an alias moves, so that no champion is without who and
why. How one of several calls at once gets to write stands in `history`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from components.core import paths as names
from components.core.errors import RegistryError
from components.core.paths import Workspace
from components.gate.overrides import check_overrides
from components.registry.changes import (
    PROMOTED,
    REJECTED,
    ROLLED_BACK,
    WITHDRAWN,
    Change,
    earlier_champions,
    new_change,
    refusal_of,
)
from components.registry.current import (
    Current,
    check_champion,
    check_current,
    found_here,
    recount_here,
)
from components.registry.history import (
    History,
    append,
    check_decided_on,
    let_aliases_follow,
    number_of,
    read_settled_history,
)
from components.registry.mlflow_registry import CANDIDATE, Registry, Version
from components.registry.people import check_two_people
from components.registry.signatures import check_heads, pinned_keys
from components.registry.verification import (
    check_version_signed,
    heads_of,
    verify_version,
    warn_without_keys,
)


def promote(
    registry: Registry,
    name: str,
    version: str | None = None,
    *,
    by: str,
    why: str,
    despite: int | None = None,
    stated: bool = False,
) -> Change:
    """Make a version (None: the candidate) champion; return the change in the history.

    `stated`: who decides has said so elsewhere, and is not the user of this process.

    Promoting the champion again changes nothing and returns the change there is. A version that
    was rejected or withdrawn needs the number of that change, `despite`. Raises `RegistryError` for
    a version that the gate did not accept or whose files are not what was registered, for a broken
    history, and where somebody else changes the champion meanwhile; `EvidenceError` where policy,
    champion, judges, data or prompt contract are not those it was accepted under, as far as they
    are here, an override has ended or was withdrawn, or the history is not the one that was signed.
    """
    history = _read(registry, name)
    if version is None:
        version = history.model.aliases.get(CANDIDATE)
    if version is None:
        raise RegistryError(f"{name} has no candidate; `safereact run` registers one")
    found, last = registry.version(name, version), history.last
    is_champion = last is not None and version == last.version == history.due
    lifted = "" if is_champion else _lifted(history, found, despite)
    user = "" if stated else registry.user()
    change = _change(PROMOTED, found, history, by=by, why=why, user=user, despite=lifted)
    _verify(registry, found, history, change)
    if last and is_champion and (last.event == PROMOTED or history.followed):
        return let_aliases_follow(registry, name, last)
    return append(registry, history, change)


def rollback(
    registry: Registry, name: str, *, by: str, why: str, despite: int | None = None
) -> Change:
    """Give `champion` back to the version that had it before; return the change.

    Versions deleted since are passed over, those with the very adapter that is to go, and those
    that were rejected or withdrawn, but for the one by the change with the number `despite`. Going
    back must be possible under a policy or champion that is newer than the version, so those are
    not compared. Raises `RegistryError` where there is no earlier champion, and otherwise as
    `promote`.
    """
    history = _read(registry, name)
    target = _earlier(registry, history, despite)
    _verify(registry, target, history)
    last = history.last
    if last and last.event == ROLLED_BACK and last.version == target.number == history.due:
        return let_aliases_follow(registry, name, last)  # it was cut off
    lifted = _lifted(history, target, despite)
    user = registry.user()
    change = _change(ROLLED_BACK, target, history, by=by, why=why, user=user, despite=lifted)
    return append(registry, history, change)


def reject(registry: Registry, name: str, alias: str, *, by: str, why: str) -> Change:
    """Turn down the version that `alias` (or its number) names: it is no candidate any more; return
    the change that says so, which may be an earlier one.

    Raises `RegistryError` for the champion, and where the history is broken or changes meanwhile.
    """
    return _turn_down(registry, name, alias, REJECTED, by=by, why=why)


def withdraw(registry: Registry, name: str, alias: str, *, by: str, why: str) -> Change:
    """Withdraw the version that `alias` (or its number) names, and its adapter under any other, for
    what it does: it is neither candidate nor champion any more, and where it was champion there is
    none; return the change that says so, which may be an earlier one.

    Nothing is asked of its files. Raises `RegistryError` as `reject`, but for the champion.
    """
    return _turn_down(registry, name, alias, WITHDRAWN, by=by, why=why)


def _turn_down(
    registry: Registry, name: str, alias: str, event: str, *, by: str, why: str
) -> Change:
    history = _read(registry, name)
    version = registry.version(name, number_of(history.model, alias))
    change = _change(event, version, history, by=by, why=why, user=registry.user())
    standing = refusal_of(history.changes, version.number, version.adapter)
    # Of a champion that stands all the same, as a promotion without a digest leaves it, it is new.
    stands = version.number == history.due
    if standing and not stands and (event == REJECTED or standing.event == WITHDRAWN):
        return let_aliases_follow(registry, name, standing)
    if event == REJECTED and version.number in (history.due, history.champion):
        raise RegistryError(
            f"{version} is champion, no candidate; `safereact withdraw {name}@{version.number}` "
            "takes it out of use"
        )
    return append(registry, history, change)


def _change(
    event: str,
    version: Version,
    history: History,
    *,
    by: str,
    why: str,
    user: str,
    despite: str = "",
) -> Change:
    return new_change(
        event,
        version.number,
        history.champion,
        by=by,
        why=why,
        user=user,
        adapter=version.adapter,
        despite=despite,
    )


def _read(registry: Registry, name: str) -> History:
    """Return the history of `name`, whole, settled, and the one that was signed."""
    heads = heads_of(registry, name)  # before the history, which may go on meanwhile
    history = read_settled_history(registry, name)
    check_heads(heads, name, history.chain)
    return history


def _lifted(history: History, version: Version, despite: int | None) -> str:
    """Return the number of the refusal that a version is made champion despite of; empty: there is
    none. Raises `RegistryError` unless it is the one that was named."""
    refusal = refusal_of(history.changes, version.number, version.adapter)
    if refusal and refusal.number != despite:
        raise RegistryError(
            f"{version} was {refusal}; to make it champion despite that, name it: --despite "
            f"{refusal.number}"
        )
    if despite is not None and refusal is None:
        raise RegistryError(
            f"--despite {despite}: {version} is neither rejected nor withdrawn; leave it out"
        )
    return str(refusal.number) if refusal else ""


def _earlier(registry: Registry, history: History, despite: int | None) -> Version:
    """Return the version that a rollback goes to; raises `RegistryError` where there is none."""
    name, champion = history.model.name, history.champion
    numbers = registry.numbers(name)
    now = registry.version(name, champion).adapter if champion in numbers and champion else ""
    passed: list[str] = []
    for number in earlier_champions(history.changes, champion, numbers):
        version = registry.version(name, number)
        refusal = refusal_of(history.changes, number, version.adapter)
        if refusal and refusal.number != despite:
            passed.append(f"version {number} was {refusal} (change {refusal.number})")
        elif not now or version.adapter != now:
            return version
    raise RegistryError(
        f"{name} has no earlier champion than version {champion or 'none'} to go back to; "
        + "".join(f"{one}; " for one in passed)
        + "`safereact promote` makes another version champion"
    )


def _verify(
    registry: Registry, version: Version, history: History, promotion: Change | None = None
) -> None:
    """Raise `RegistryError` unless the version can be relied on, has the adapter that people
    decided on and, for a `promotion`, is one of its profile's registered model, and `EvidenceError`
    where an override has ended or was withdrawn or, for a `promotion`, what the decision is about
    has changed, the policy asks for other people or, where the rows are here, the evidence does not
    follow from them or people said otherwise of them than the decision has it."""
    check_decided_on(version, "", history.chain)
    with tempfile.TemporaryDirectory() as scratch:
        decision = verify_version(registry, version, Path(scratch)).decision
        check_overrides(decision, registry.root / names.OVERRIDES)
        warn_without_keys(registry, Path(scratch))
        if promotion is None:
            return
        if "profile" not in version.tags:
            raise RegistryError(
                f"{version} has no tag `profile`, so nobody knows which policy it is held to; only "
                "what `safereact run` registered becomes champion"
            )
        here = Current.of(Workspace(registry.root, version.tags["profile"]))
        if (own := here.profile.registration.name) != version.name:
            raise RegistryError(
                f"{version} is of the profile {here.profile.name}, whose registered model is "
                f"{own}: a version is held to the policy of its own model's profile"
            )
        check_current(decision, found_here(decision, here))
        if signers := here.policy.signed_by:
            check_version_signed(version, Path(scratch), pinned_keys(registry.root, signers))
        if here.policy.two_people:
            check_two_people(registry, version, Path(scratch), promotion)
    check_champion(registry, version.name, decision)
    recount_here(decision, here)
