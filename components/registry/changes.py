"""What people decided about the versions of a registered model: changes, the hash chain that they
form, and what follows from them.

Each change states the digest of the one before it, and its own digest is over that, too: SHA-256 of
canonical JSON behind a name that no other digest here begins with. So the last digest, the head,
is about the whole history, and a signature about a head is about all changes up to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from components.core.errors import EvidenceError, RegistryError
from components.core.identity import signatory
from components.core.storage import digest_bytes, read_json, write_json
from components.core.untrusted_text import folded, visible

PREFIX = "ledger."
HISTORY = "history.json"  # the changes beside a version that was brought whole
PROMOTED, ROLLED_BACK, REJECTED, WITHDRAWN = "promoted", "rolled back", "rejected", "withdrawn"
_MOVES, _REFUSALS = (PROMOTED, ROLLED_BACK), (REJECTED, WITHDRAWN)
_NUMBERED = re.compile(rf"{re.escape(PREFIX)}(\d{{6,}})")
_DOMAIN = b"safereact.history.v1\0"


@dataclass(frozen=True, slots=True)
class Change:
    """One decision about a version; `previous` is the champion before, if there was one."""

    event: str  # promoted, rolled back, rejected or withdrawn
    version: str
    previous: str | None
    by: str  # as it was stated
    why: str
    when: str  # UTC, ISO 8601
    adapter: str = ""  # digest of the version's adapter
    despite: str = ""  # number of the refusal that was known and did not count
    follows: str = ""  # digest of the change before
    user: str = ""  # whose credentials MLflow accepted; empty: nobody verified who it was
    number: int = 0  # its place, from 1, which its key says

    @property
    def moves(self) -> bool:
        """Whether it made its version champion."""
        return self.event in _MOVES

    def concerns(self, version: str, adapter: str) -> bool:
        """Whether it is about this version or, withdrawn for what it does, about this adapter."""
        same = self.event == WITHDRAWN and adapter != "" and adapter == self.adapter
        return version == self.version or same

    @property
    def who(self) -> str:
        """Who made it, and whether somebody verified that."""
        return signatory(self.by, self.user)

    def __str__(self) -> str:
        return f"{self.event} by {self.who}: {self.why!r}"


class Chain(NamedTuple):
    """The changes of a registered model, oldest first, none of them missing or rewritten."""

    changes: tuple[Change, ...]
    digests: tuple[str, ...]  # of an empty history, and then of each change

    @property
    def head(self) -> str:
        """The digest of all of it."""
        return self.digests[-1]

    @property
    def size(self) -> str:
        """How many changes it has, in words."""
        count = len(self.changes)
        return f"{count} change{'' if count == 1 else 's'}"

    def extended(self, change: Change) -> Change:
        """Return `change` as the next one."""
        return replace(change, number=len(self.digests), follows=self.head)


def new_change(
    event: str,
    version: str,
    previous: str | None,
    *,
    by: str,
    why: str,
    user: str = "",
    adapter: str = "",
    despite: str = "",
) -> Change:
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
    return Change(event, version, previous, by, why, when, adapter, despite, user=visible(user))


# --- the chain -------------------------------------------------------------------------------


def encode(change: Change) -> tuple[str, str]:
    """Return the tag (key, value) that keeps `change`."""
    document = asdict(change)
    key = f"{PREFIX}{document.pop('number'):06d}"
    return key, json.dumps(document, sort_keys=True, ensure_ascii=False)


def chain_of(tags: Mapping[str, str]) -> Chain:
    """Return the chain of the changes among a registered model's tags.

    Raises `RegistryError` naming a tag that is not a change, and the first change that is not what
    the next one was written after: rewritten, removed, put elsewhere or put in between.
    """
    changes: list[Change] = []
    digests = [digest_bytes(_DOMAIN)]
    for key in _keys(tags):
        document, change = _decoded(key, tags[key])
        _check_link(key, change, digests)
        changes.append(change)
        digests.append(_digest(key, document, digests[-1]))
    return Chain(tuple(changes), tuple(digests))


def listed(tags: Mapping[str, str]) -> list[Change]:
    """Return the changes among a registered model's tags, whether or not they hang together, oldest
    first; raises `RegistryError` naming a tag that is none."""
    return [_decoded(key, tags[key])[1] for key in _keys(tags)]


def _keys(tags: Mapping[str, str]) -> list[str]:
    return sorted((key for key in tags if key.startswith(PREFIX)), key=_number)


def _number(key: str) -> int:
    if numbered := _NUMBERED.fullmatch(key):
        return int(numbered[1])
    raise RegistryError(f"tag {key} of the registered model is damaged: its name has no number")


def _decoded(key: str, text: str) -> tuple[dict[str, Any], Change]:
    try:
        document = json.loads(text)
        change = Change(**document, number=_number(key))
    except (TypeError, ValueError, RecursionError) as error:
        raise RegistryError(f"tag {key} of the registered model is damaged: {error}") from error
    texts = {name: one for name, one in document.items() if name != "previous" or one is not None}
    odd = [name for name, one in texts.items() if not isinstance(one, str)]
    odd += ["event"] if change.event not in _MOVES + _REFUSALS else []
    odd += ["despite"] if not re.fullmatch(r"[0-9]{0,18}", str(change.despite)) else []
    if odd:
        what = f"{odd[0]} is {document[odd[0]]!r:.40}"
        raise RegistryError(f"tag {key} of the registered model is damaged: {what}")
    return document, change


def _digest(key: str, document: Mapping[str, Any], before: str) -> str:
    whole = {"change": document, "follows": before, "key": key}
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"))
    return digest_bytes(_DOMAIN + text.encode())


def _check_link(key: str, change: Change, digests: Sequence[str]) -> None:
    """Raise `RegistryError` unless `change` follows those before it, whose digests these are behind
    that of an empty history."""
    if change.number != len(digests):
        what = f"change {len(digests)} is missing"
    elif change.follows == digests[-1]:
        return
    elif not change.follows:
        what = f"{key} does not state what it follows"
    elif change.follows in digests:
        after = digests.index(change.follows)
        place = f"change {after}" if after else "nothing"
        what = f"{key} was written after {place}: what lies between was put there later"
    else:
        what = f"{key} was not written after what lies before it, which was rewritten or removed"
    raise RegistryError(
        f"the history of promotions is broken: {what}; bring the tags {PREFIX}* of the registered "
        "model back from a backup of the store"
    )


def write_chain(model: str, tags: Mapping[str, str], folder: Path) -> None:
    """Write the changes among a registered model's tags beside a version in `folder`; raises as
    `chain_of`."""
    chain_of(tags)
    found = {key: json.loads(tags[key]) for key in _keys(tags)}
    write_json(folder / HISTORY, {"changes": found, "model": model})


def chain_in(folder: Path) -> tuple[str, Chain] | None:
    """Return the registered model and its chain as they lie beside a version in `folder`; None
    where there is none.

    Raises as `chain_of`, `EvidenceError` for a file that holds no changes.
    """
    if not ((folder / HISTORY).exists() or (folder / HISTORY).is_symlink()):
        return None
    found = read_json(folder / HISTORY)
    try:
        tags = {key: json.dumps(document) for key, document in found["changes"].items()}
        return str(found["model"]), chain_of(tags)
    except (AttributeError, KeyError, TypeError) as error:
        raise EvidenceError(f"{HISTORY} holds no history: {error}") from error


# --- what follows from changes ---------------------------------------------------------------


def champion_of(changes: Iterable[Change]) -> str | None:
    """Return the version that the changes leave as champion; None: none, or it was withdrawn."""
    holder, withdrawal = _holder(changes)
    return holder.version if holder and withdrawal is None else None


def withdrawal_of(changes: Iterable[Change]) -> Change | None:
    """Return the change that took the last champion away; None: nobody did."""
    return _holder(changes)[1]


def _holder(changes: Iterable[Change]) -> tuple[Change | None, Change | None]:
    """Return the last change that made a version champion, and what withdrew that since."""
    holder = withdrawal = None
    for change in changes:
        if change.moves:
            holder, withdrawal = change, None
        elif holder and change.event == WITHDRAWN and withdrawal is None:
            withdrawal = change if change.concerns(holder.version, holder.adapter) else None
    return holder, withdrawal


def champions(changes: Iterable[Change]) -> list[str]:
    """Return the versions on the stack, the last champion last; no version lies upon itself.

    A rollback to a version that is not on the stack leaves that version alone on it.
    """
    stack: list[str] = []
    for change in (one for one in changes if one.moves):
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


def refusal_of(changes: Iterable[Change], version: str, adapter: str) -> Change | None:
    """Return the last rejection or withdrawal that concerns a version and that nobody has lifted
    by making it champion despite it; None: there is none."""
    standing: list[Change] = []
    for change in changes:
        if change.despite:
            held = (change.version, change.adapter)
            last = int(change.despite)
            standing = [one for one in standing if one.number > last or not one.concerns(*held)]
        elif change.event in _REFUSALS:
            standing.append(change)
    return next((one for one in reversed(standing) if one.concerns(version, adapter)), None)


def recorded_adapter(changes: Sequence[Change], version: str) -> str:
    """Return the digest of the adapter that a version had when it was last decided on; empty:
    nobody decided."""
    return next((c.adapter for c in reversed(changes) if c.version == version and c.adapter), "")
