"""Who made which version champion, turned one down, when and why: a history that is only added to.

A change is kept as a tag of the registered model, `ledger.000007`, and nothing is rewritten; what
changes are and how they hang together stands in `changes`.

One change at a time is made, on whatever machine it is asked for. MLflow sets tags and aliases as
it is asked, and the last call wins. What it writes only once is a parameter of a run, so the next
number is claimed there, with the change as its value: of two calls that read the same history one
gets the number, the other changes nothing and says so. The change is copied to the registered
model's tags, then the aliases are set or taken away, then all are read again. A call that was cut
off in between leaves a last change that the aliases do not follow yet; the next call waits a moment
for it and goes on from there. The aliases follow the history, so a call that was held up and comes
late puts them right when it reads the history again.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import NamedTuple

from components.core.errors import RegistryError
from components.registry.changes import (
    PREFIX,
    WITHDRAWN,
    Chain,
    Change,
    chain_of,
    champion_of,
    encode,
    recorded_adapter,
    refusal_of,
    withdrawal_of,
)
from components.registry.mlflow_registry import CANDIDATE, CHAMPION, Model, Registry, Version

_PATIENCE = 5.0  # seconds for somebody else's change to be finished
_FRESH = 60.0  # seconds; a change that is older belongs to no call that is still at work
_ATTEMPTS = 5


class History(NamedTuple):
    """The changes of a registered model at the moment when they were read."""

    model: Model
    run: str  # where numbers are claimed
    chain: Chain

    @property
    def changes(self) -> tuple[Change, ...]:
        """The changes, oldest first."""
        return self.chain.changes

    @property
    def champion(self) -> str | None:
        """The version that has the alias."""
        return self.model.aliases.get(CHAMPION)

    @property
    def due(self) -> str | None:
        """The version that the changes leave as champion."""
        return champion_of(self.changes)

    @property
    def last(self) -> Change | None:
        """The last change that made a version champion; None: nobody was ever champion."""
        return next((change for change in reversed(self.changes) if change.moves), None)

    @property
    def followed(self) -> bool:
        """Whether the alias is where the changes leave it."""
        return not self.changes or self.due == self.champion

    @property
    def is_under_way(self) -> bool:
        """Whether the alias may still come to where the changes leave it."""
        if self.followed:
            return False
        try:
            age = datetime.now(UTC) - datetime.fromisoformat(self.changes[-1].when)
        except (TypeError, ValueError):  # no moment, or one without a zone: made by hand
            return False
        return abs(age.total_seconds()) < _FRESH


def check_history(model: Model) -> Chain:
    """Return the chain of a registered model; raise `RegistryError` unless it is whole and the
    alias `champion` is where it left it."""
    chain = chain_of(model.tags)
    alias, left = model.aliases.get(CHAMPION), champion_of(chain.changes)
    if left != alias:
        where = f"at version {alias}" if alias else "gone"
        history = f"made version {left} champion" if left else "knows of no champion"
        raise RegistryError(
            f"the alias champion of {model.name} is {where}, but the history {history}: it was "
            "moved by hand, or a command was cut off; `safereact promote`, `rollback` or "
            "`withdraw` puts it in order"
        )
    return chain


def number_of(model: Model, alias: str) -> str:
    """Return the number of the version that `alias`, or the number itself, names; raises
    `RegistryError` where there is no such alias."""
    number = alias if alias.isdigit() else model.aliases.get(alias)
    if number is not None:
        return number
    withdrawal = withdrawal_of(chain_of(model.tags).changes) if alias == CHAMPION else None
    if withdrawal:
        raise RegistryError(
            f"{model.name} has no champion: version {withdrawal.version} was {withdrawal}; "
            "`safereact rollback` goes back to an earlier one, `safereact promote` makes a new one"
        )
    known = ", ".join(sorted(model.aliases)) or "none"
    raise RegistryError(f"{model.name} has no alias {alias!r}; it has: {known}")


def check_decided_on(version: Version, alias: str, chain: Chain) -> None:
    """Raise `RegistryError` where a version has another adapter than people decided on, or is
    candidate although somebody turned it down, or champion although it was withdrawn."""
    recorded = recorded_adapter(chain.changes, version.number)
    if recorded not in ("", version.adapter):
        raise RegistryError(
            f"{version} has the adapter {version.adapter:.12}, and the history {recorded:.12}: it "
            "is not the one that people decided on"
        )
    refusal = refusal_of(chain.changes, version.number, version.adapter)
    if alias == CHAMPION and refusal and refusal.event == WITHDRAWN:
        raise RegistryError(
            f"{version} was {refusal}, and is champion all the same; `safereact withdraw "
            f"{version.name}@{version.number}` takes it out of use"
        )
    if alias == CANDIDATE and refusal:
        raise RegistryError(
            f"{version} was {refusal}: it is no candidate, and `safereact promote` takes it only "
            f"with --despite {refusal.number}"
        )


# --- one change at a time --------------------------------------------------------------------


def read_history(registry: Registry, name: str) -> History:
    """Return the history of `name`, after copying claimed changes whose call did not come to it.

    Raises `RegistryError` for an unknown name, a damaged or broken history, and a tag that is not
    what was claimed under its number.
    """
    registry.model(name)  # an unknown name is refused before anything else is looked for
    run = registry.oldest_run(name)
    # In this order: an alias that has moved is never seen without its change.
    claimed = registry.claims(run, PREFIX)
    model = registry.model(name)
    for key in sorted(claimed):
        if model.tags.get(key, claimed[key]) != claimed[key]:
            raise RegistryError(
                f"the history of {name} is broken: tag {key} was rewritten; run {run} has it as it "
                "was written, in a parameter of that name"
            )
        if key not in model.tags:
            registry.set_tag(name, key, claimed[key])
    return History(model, run, chain_of({**model.tags, **claimed}))


def read_settled_history(registry: Registry, name: str) -> History:
    """Return the history of `name` when no change of it is under way, as far as can be seen.

    A last change that the alias does not follow is waited for; nobody comes back to one that stays
    like that. Raises `RegistryError` where it is followed while waiting: then somebody else has
    just changed the champion.
    """
    history = first = read_history(registry, name)
    until = time.monotonic() + _PATIENCE
    while history.is_under_way and time.monotonic() < until:
        time.sleep(0.2)
        history = read_history(registry, name)
        _check_unchanged(first, history)
    return history


def append(registry: Registry, seen: History, change: Change) -> Change:
    """Write `change` behind the history that was `seen`, let the aliases follow, and return it as
    it was written.

    Raises `RegistryError` where somebody else added to the history since, or does at the same time.
    """
    name = seen.model.name
    _check_unchanged(seen, read_history(registry, name))
    change = seen.chain.extended(change)
    key, value = encode(change)
    if not registry.claim(seen.run, key, value):
        raise _changed_meanwhile(read_history(registry, name))
    registry.set_tag(name, key, value)
    return let_aliases_follow(registry, name, change)


def let_aliases_follow(registry: Registry, name: str, change: Change) -> Change:
    """Let the aliases follow the history, of which `change` is one, and return it when the history,
    read again, shows that they do.

    Raises `RegistryError` where another version became champion behind it, or aliases do not stay.
    """
    for _ in range(_ATTEMPTS):
        history = read_history(registry, name)
        if not history.followed:
            registry.set_alias(name, CHAMPION, history.due)
        elif _candidate_is_refused(registry, history):
            registry.set_alias(name, CANDIDATE, None)
        elif change.moves and history.due != change.version:
            raise _changed_meanwhile(history)
        else:
            return change
    raise RegistryError(
        f"the aliases of {name} do not stay where its history leaves them: they are moved by other "
        "means at the same time; end that, and repeat the command"
    )


def _candidate_is_refused(registry: Registry, history: History) -> bool:
    number = history.model.aliases.get(CANDIDATE)
    if number is None:
        return False
    adapter = registry.version(history.model.name, number).adapter
    return refusal_of(history.changes, number, adapter) is not None


def _check_unchanged(before: History, now: History) -> None:
    if (now.chain.head, now.champion) != (before.chain.head, before.champion):
        raise _changed_meanwhile(now)


def _changed_meanwhile(now: History) -> RegistryError:
    """Return the refusal of a call that somebody else came before."""
    last = now.changes[-1] if now.changes else None
    about = f"; last: version {last.version} {last}" if last else ""
    return RegistryError(
        f"somebody else changed {now.model.name} meanwhile: its champion is version "
        f"{now.champion or 'none'}{about}. Look at `safereact status`, and repeat the command if "
        "it still applies"
    )
