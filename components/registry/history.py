"""Who made which version champion, when and why: a history that is only ever added to.

A change is kept as a tag of the registered model, `ledger.000007`, and nothing is rewritten. A
promotion puts its version on a stack; a rollback takes versions off until the one it went back to
lies on top. Histories of earlier releases have keys by time, which come before all numbers.

One change at a time is made, on whatever machine it is asked for. MLflow sets tags and aliases as
it is asked, and the last call wins. What it writes only once is a parameter of a run, so the next
number is claimed there, with the change as its value: of two calls that read the same history one
gets the number, the other changes nothing and says so. The change is copied to the registered
model's tags, then the alias is set, then both are read again. A call that was cut off in between
leaves a last change that the alias does not follow yet; the next call waits a moment for it and
goes on from there. The alias follows the last change, so a call that was held up and comes late
puts the alias right when it reads the history again.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from components.core.errors import RegistryError
from components.core.untrusted_text import folded, visible
from components.registry.mlflow_registry import CHAMPION, Model, Registry

PREFIX = "ledger."
PROMOTED, ROLLED_BACK = "promoted", "rolled back"
_NUMBERED = re.compile(rf"{re.escape(PREFIX)}(\d{{6,}})")
_PATIENCE = 5.0  # seconds for somebody else's change to be finished
_FRESH = 60.0  # seconds; a change that is older belongs to no call that is still at work
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the champion; `previous` is the version before, if there was one."""

    event: str  # promoted or rolled back
    version: str
    previous: str | None
    by: str
    why: str
    when: str  # UTC, ISO 8601


class History(NamedTuple):
    """The changes of a registered model's champion at the moment when they were read."""

    model: Model
    run: str  # where numbers are claimed
    changes: tuple[Change, ...]
    number: int  # of the next change

    @property
    def champion(self) -> str | None:
        """The version that has the alias."""
        return self.model.aliases.get(CHAMPION)

    @property
    def last(self) -> Change | None:
        """The last change; None: nobody was ever champion."""
        return self.changes[-1] if self.changes else None

    @property
    def followed(self) -> bool:
        """Whether the alias is where the last change says."""
        return self.last is None or self.last.version == self.champion

    @property
    def is_under_way(self) -> bool:
        """Whether the alias may still come to where the last change says."""
        if self.last is None or self.followed:
            return False
        age = datetime.now(UTC) - datetime.fromisoformat(self.last.when)
        return abs(age.total_seconds()) < _FRESH


# --- changes as tags -------------------------------------------------------------------------


def new_change(event: str, version: str, previous: str | None, *, by: str, why: str) -> Change:
    """Return a change of this moment; raises `RegistryError` without a name and a reason, and for
    one that is too long to be kept."""
    by, why = visible(folded(by)), visible(folded(why))
    if not by or not why:
        raise RegistryError(
            f"{version} is not {event}: say who (--by, received {by!r}) and why (--why, "
            f"received {why!r})"
        )
    for option, text, most in (("by", by, 200), ("why", why, 1000)):
        if len(text) > most:  # a tag holds 5000 characters of JSON in every database
            raise RegistryError(
                f"{version} is not {event}: --{option} has {len(text)} characters; {most} are kept"
            )
    when = datetime.now(UTC).isoformat(timespec="microseconds")
    return Change(event, version, previous, by, why, when)


def encode(change: Change, number: int) -> tuple[str, str]:
    """Return the tag (key, value) that keeps `change` under its number."""
    return f"{PREFIX}{number:06d}", json.dumps(asdict(change), sort_keys=True, ensure_ascii=False)


def next_number(tags: Mapping[str, str]) -> int:
    """Return the number that the next change takes; the first is 1."""
    return 1 + max((_order(key)[0] for key in tags), default=0)


def decode(tags: Mapping[str, str]) -> list[Change]:
    """Return the changes among a registered model's tags, oldest first.

    Raises `RegistryError` naming a tag that is not a change.
    """
    changes = []
    for key in sorted((key for key in tags if key.startswith(PREFIX)), key=_order):
        try:
            changes.append(Change(**json.loads(tags[key])))
        except (TypeError, ValueError) as error:
            raise RegistryError(f"tag {key} of the registered model is damaged: {error}") from error
    return changes


def _order(key: str) -> tuple[int, str]:
    numbered = _NUMBERED.fullmatch(key)
    return (int(numbered[1]) if numbered else 0, key)


def champions(changes: Iterable[Change]) -> list[str]:
    """Return the versions on the stack, the champion last; no version lies upon itself.

    Two promotions of one version in a row, which earlier releases could write, are one. A rollback
    to a version that is not on the stack leaves that version alone on it.
    """
    stack: list[str] = []
    for change in changes:
        if change.event == ROLLED_BACK:
            while stack and stack[-1] != change.version:
                stack.pop()
        if stack[-1:] != [change.version]:
            stack.append(change.version)
    return stack


def earlier_champions(
    changes: Sequence[Change], champion: str | None, available: Collection[str]
) -> list[str]:
    """Return the versions that a rollback from `champion` can go to, the latest first.

    They lie on the stack below the place where `champion` is now, or all of it where it is not on
    it: after a rollback that was cut off, or an alias set by hand. `available` are the versions
    that have not been deleted; `champion` is never among those returned.
    """
    stack = champions(changes)
    while champion in stack and stack.pop() != champion:
        pass
    return list(dict.fromkeys(v for v in reversed(stack) if v in available and v != champion))


def check_history(model: Model) -> None:
    """Raise `RegistryError` unless the alias `champion` is where the history left it."""
    alias, left = model.aliases.get(CHAMPION), champions(decode(model.tags))[-1:]
    if left != [alias] and (left or alias):
        where = f"at version {alias}" if alias else "gone"
        history = f"made version {left[0]} champion" if left else "knows of no champion"
        raise RegistryError(
            f"the alias champion of {model.name} is {where}, but the history {history}: it was "
            "moved by hand, or a promotion or rollback was cut off; `safereact promote` or "
            "`safereact rollback` puts it in order"
        )


# --- one change at a time --------------------------------------------------------------------


def read_history(registry: Registry, name: str) -> History:
    """Return the history of `name`, after copying claimed changes whose call did not come to it.

    Raises `RegistryError` for an unknown name and a damaged history.
    """
    registry.model(name)  # an unknown name is refused before anything else is looked for
    run = registry.oldest_run(name)
    # In this order: an alias that has moved is never seen without its change.
    claimed = registry.claims(run, PREFIX)
    model = registry.model(name)
    for key in sorted(claimed.keys() - model.tags.keys()):
        registry.set_tag(name, key, claimed[key])
    tags = {**model.tags, **claimed}
    return History(model, run, tuple(decode(tags)), next_number(tags))


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
    """Write `change` behind the history that was `seen`, let the alias follow, and return it.

    Raises `RegistryError` where somebody else changed the champion since, or does at the same time.
    """
    name = seen.model.name
    _check_unchanged(seen, read_history(registry, name))
    key, value = encode(change, seen.number)
    if not registry.claim(seen.run, key, value):
        raise _changed_meanwhile(read_history(registry, name))
    registry.set_tag(name, key, value)
    return let_alias_follow(registry, name, change)


def let_alias_follow(registry: Registry, name: str, change: Change) -> Change:
    """Let the alias follow the history, whose last change is `change`, and return it when the
    history, read again, shows that it does.

    Raises `RegistryError` where another change came behind it, or the alias does not stay.
    """
    for _ in range(_ATTEMPTS):
        history = read_history(registry, name)
        if history.last is None:
            break
        if not history.followed:
            registry.set_alias(name, CHAMPION, history.last.version)
        elif history.last == change:
            return change
        else:
            raise _changed_meanwhile(history)
    raise RegistryError(
        f"the alias {CHAMPION} of {name} does not stay at version {change.version}: it is moved by "
        "other means at the same time; end that, and repeat the command"
    )


def _check_unchanged(before: History, now: History) -> None:
    if (now.number, now.champion) != (before.number, before.champion):
        raise _changed_meanwhile(now)


def _changed_meanwhile(now: History) -> RegistryError:
    """Return the refusal of a call that somebody else came before."""
    last = now.last
    about = f"; last: {last.event} {last.version} by {last.by}, {last.why!r}" if last else ""
    return RegistryError(
        f"{now.model.name} got another champion meanwhile: version {now.champion or 'none'}"
        f"{about}. Look at `safereact status`, and repeat the command if it still applies"
    )
