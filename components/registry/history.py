"""Who made which version champion, when and why: an append-only ledger, replayed as a stack.

A promotion puts its version on the stack, a rollback takes versions off until the one it went
back to lies on top. Entries are numbered; the number is claimed before the entry counts (see
`promotion`), so two calls at once cannot both write. An entry is kept as a tag of the registered
model, `ledger.000007`; nothing is ever rewritten. Ledgers of earlier releases have keys by time,
which come before all numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from components.core.errors import RegistryError
from components.core.untrusted_text import folded, visible

PREFIX = "ledger."
PROMOTED, ROLLED_BACK = "promoted", "rolled back"
_NUMBERED = re.compile(rf"{re.escape(PREFIX)}(\d{{6,}})")
_LONGEST = {"by": 200, "why": 1000}  # characters; a tag holds 5000 of JSON in every database


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
    """Return an entry of this moment; raises `RegistryError` without a name and a reason, and for
    one that is too long to be kept."""
    by, why = visible(folded(by)), visible(folded(why))
    if not by or not why:
        raise RegistryError(
            f"{version} is not {event}: say who (--by, received {by!r}) and why (--why, "
            f"received {why!r})"
        )
    for option, text in (("by", by), ("why", why)):
        if len(text) > _LONGEST[option]:
            raise RegistryError(
                f"{version} is not {event}: --{option} has {len(text)} characters; "
                f"{_LONGEST[option]} are kept"
            )
    when = datetime.now(UTC).isoformat(timespec="microseconds")
    return Entry(event, version, previous, by, why, when)


def encode(entry: Entry, number: int) -> tuple[str, str]:
    """Return the tag (key, value) that keeps `entry` under its number."""
    return f"{PREFIX}{number:06d}", json.dumps(asdict(entry), sort_keys=True, ensure_ascii=False)


def next_number(tags: Mapping[str, str]) -> int:
    """Return the number that the next entry takes; the first is 1."""
    numbers = (_NUMBERED.fullmatch(key) for key in tags)
    return 1 + max((int(number[1]) for number in numbers if number), default=0)


def decode(tags: Mapping[str, str]) -> list[Entry]:
    """Return the entries among a registered model's tags, oldest first.

    Raises `RegistryError` naming a tag that is not an entry.
    """
    entries = []
    for key in sorted((key for key in tags if key.startswith(PREFIX)), key=_order):
        try:
            entries.append(Entry(**json.loads(tags[key])))
        except (TypeError, ValueError) as error:
            raise RegistryError(f"tag {key} of the registered model is damaged: {error}") from error
    return entries


def _order(key: str) -> tuple[int, str]:
    numbered = _NUMBERED.fullmatch(key)
    return (int(numbered[1]) if numbered else 0, key)


def champions(entries: Iterable[Entry]) -> list[str]:
    """Return the versions on the stack, the champion last; no version lies upon itself.

    Two promotions of one version in a row, which earlier releases could write, are one. A rollback
    to a version that is not on the stack leaves that version alone on it.
    """
    stack: list[str] = []
    for entry in entries:
        if entry.event == ROLLED_BACK:
            while stack and stack[-1] != entry.version:
                stack.pop()
        if stack[-1:] != [entry.version]:
            stack.append(entry.version)
    return stack


def earlier_champions(
    entries: Sequence[Entry], champion: str | None, there: Collection[str]
) -> list[str]:
    """Return the versions that a rollback from `champion` can go to, the latest first.

    They lie on the stack below the place where `champion` is now, or all of it where it is not on
    it: after a rollback that was cut off, or a move by hand. `there` are the versions that have not
    been deleted; `champion` is never among those returned.
    """
    stack = champions(entries)
    while champion in stack and stack.pop() != champion:
        pass
    return list(dict.fromkeys(v for v in reversed(stack) if v in there and v != champion))
