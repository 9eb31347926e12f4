"""One move of the alias `champion` at a time, on whatever machine it is asked for.

MLflow sets tags and aliases as told, the last one wins. What it writes only once is a parameter of
a run, so the next number of the ledger is claimed there, with the entry as its value: of two calls
that looked at the same ledger one gets the number, the other changes nothing and says so. The entry
is copied to the registered model's tags, then the alias moves, then both are read again. A call
that was cut off in between leaves a last entry that the alias does not follow yet; the next call
waits a moment for it and takes it from there. The alias follows the ledger's last entry, so a call
that was held up and comes late puts it right again when it looks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from components.core.errors import RegistryError
from components.registry.entries import Model
from components.registry.history import PREFIX, Entry, decode, encode, next_number
from components.registry.mlflow_registry import CHAMPION, Registry

_PATIENCE = 5.0  # seconds for a move of somebody else to be finished
_FRESH = 60.0  # seconds; an entry that is older belongs to no call that is still at work
_LOOKS = 5


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ledger of a registered model as one look found it."""

    model: Model
    run: str  # where numbers are claimed
    entries: tuple[Entry, ...]
    number: int  # of the next entry

    @property
    def champion(self) -> str | None:
        """The version that has the alias."""
        return self.model.aliases.get(CHAMPION)

    @property
    def last(self) -> Entry | None:
        """The last entry; None: nobody was ever champion."""
        return self.entries[-1] if self.entries else None

    @property
    def followed(self) -> bool:
        """Whether the alias is where the last entry says."""
        return self.last is None or self.last.version == self.champion


def look(registry: Registry, name: str) -> Ledger:
    """Return the ledger of `name`, after copying claimed entries whose call did not come to it.

    Raises `RegistryError` for an unknown name and a damaged ledger.
    """
    registry.model(name)  # an unknown name is told before anything else is looked for
    run = registry.oldest_run(name)
    # In this order: an alias that has moved is never seen without its entry.
    claimed = registry.claims(run, PREFIX)
    model = registry.model(name)
    for key in sorted(claimed.keys() - model.tags.keys()):
        registry.set_tag(name, key, claimed[key])
    tags = {**model.tags, **claimed}
    return Ledger(model, run, tuple(decode(tags)), next_number(tags))


def look_still(registry: Registry, name: str) -> Ledger:
    """Return the ledger of `name` when no move of it is under way, as far as can be told.

    A last entry that the alias does not follow is waited for; nobody comes back to one that stays
    like that. Raises `RegistryError` where it is followed while waiting: then somebody else has
    just moved the alias.
    """
    ledger = first = look(registry, name)
    until = time.monotonic() + _PATIENCE
    while not ledger.followed and _fresh(ledger) and time.monotonic() < until:
        time.sleep(0.2)
        ledger = look(registry, name)
        _check_unmoved(first, ledger)
    return ledger


def move(registry: Registry, seen: Ledger, entry: Entry) -> Entry:
    """Write `entry` behind the ledger that was `seen`, let the alias follow, and return it.

    Raises `RegistryError` where somebody else moved the alias since, or does at the same time.
    """
    name = seen.model.name
    _check_unmoved(seen, look(registry, name))
    key, value = encode(entry, seen.number)
    if not registry.claim(seen.run, key, value):
        raise _moved(look(registry, name))
    registry.set_tag(name, key, value)
    return follow(registry, name, entry)


def follow(registry: Registry, name: str, entry: Entry) -> Entry:
    """Let the alias follow the ledger, whose last entry is `entry`, and return it when a look has
    shown that it does.

    Raises `RegistryError` where another entry came behind it, or the alias does not stay.
    """
    for _ in range(_LOOKS):
        ledger = look(registry, name)
        if ledger.last is None:
            break
        if not ledger.followed:
            registry.set_alias(name, CHAMPION, ledger.last.version)
        elif ledger.last == entry:
            return entry
        else:
            raise _moved(ledger)
    raise RegistryError(
        f"the alias {CHAMPION} of {name} does not stay at version {entry.version}: it is moved by "
        "other means at the same time; end that, and repeat the command"
    )


def _fresh(ledger: Ledger) -> bool:
    if ledger.last is None:
        return False
    age = datetime.now(UTC) - datetime.fromisoformat(ledger.last.when)
    return abs(age.total_seconds()) < _FRESH


def _check_unmoved(before: Ledger, now: Ledger) -> None:
    if (now.number, now.champion) != (before.number, before.champion):
        raise _moved(now)


def _moved(now: Ledger) -> RegistryError:
    """Return the refusal of a call that somebody else came before."""
    last = now.last
    told = f"; last: {last.event} {last.version} by {last.by}, {last.why!r}" if last else ""
    return RegistryError(
        f"{now.model.name} got another champion meanwhile: version {now.champion or 'none'}"
        f"{told}. Look at `safereact status`, and repeat the command if it still applies"
    )
