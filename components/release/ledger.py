"""Who made which version champion, when and why: an append-only ledger, replayed as a stack.

A promotion puts its version on the stack, a rollback takes versions off until the one it went
back to lies on top. The entries are kept as tags of the registered model, one tag an entry, whose
keys sort by time and never collide; nothing is ever rewritten.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from components.errors import RegistryError
from components.shown import folded

PREFIX = "ledger."
_STAMP = "%Y%m%dT%H%M%S.%fZ"


@dataclass(frozen=True, slots=True)
class Entry:
    """One move of the alias `champion`; `previous` is where it stood before, if anywhere."""

    event: str  # promoted or rolled back
    version: str
    previous: str | None
    by: str
    why: str
    when: str  # UTC, ISO 8601


def new_entry(event: str, version: str, previous: str | None, *, by: str, why: str) -> Entry:
    """Return an entry of this moment; raises `RegistryError` without a name and a reason."""
    if not by.strip() or not why.strip():
        raise RegistryError(
            f"{version} is not {event}: say who (--by, received {by!r}) and why (--why, "
            f"received {why!r})"
        )
    when = datetime.now(UTC).isoformat(timespec="microseconds")
    return Entry(event, version, previous, folded(by), folded(why), when)


def encode(entry: Entry) -> tuple[str, str]:
    """Return the tag (key, value) that keeps `entry`."""
    stamp = datetime.fromisoformat(entry.when).strftime(_STAMP)
    return f"{PREFIX}{stamp}.{secrets.token_hex(3)}", json.dumps(asdict(entry), sort_keys=True)


def decode(tags: Mapping[str, str]) -> list[Entry]:
    """Return the entries among a registered model's tags, oldest first.

    Raises `RegistryError` naming a tag that is not an entry.
    """
    entries = []
    for key in sorted(key for key in tags if key.startswith(PREFIX)):
        try:
            entries.append(Entry(**json.loads(tags[key])))
        except (TypeError, ValueError) as error:
            raise RegistryError(f"tag {key} of the registered model is damaged: {error}") from error
    return entries


def champions(entries: Iterable[Entry]) -> list[str]:
    """Return the versions on the stack, the champion last."""
    stack: list[str] = []
    for entry in entries:
        if entry.event == "promoted":
            stack.append(entry.version)
        else:
            while stack and stack[-1] != entry.version:
                stack.pop()
    return stack
