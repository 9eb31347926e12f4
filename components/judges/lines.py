"""Which lines and tags of a text read as those of a judge's format, however they are written.

A model reads `User:`, `**USER** :` and the same in full-width letters alike. So a text is folded
before it is compared: letters and digits, plain and small, and the few marks that tell what a line
is. Blanks and all other marks are gone, however many there were.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from functools import partial
from itertools import product
from pathlib import Path

from components.core.documents import read_yaml
from components.core.fingerprints import digest_code
from components.core.storage import digest_bytes, digest_file

_FILE = Path(__file__).with_suffix(".yaml")
_TABLE = read_yaml(_FILE)
TURNS, QUALIFIERS, VERDICTS = (tuple(_TABLE[key]) for key in ("turns", "qualifiers", "verdicts"))
_SOURCE = [digest_code(Path(__file__)), digest_file(_FILE)]
_HAZARDS = re.compile(r"(?:s\d{1,2}+)++")
_DROPPED = re.compile(r"[^\w\n:=<>|+-]|_")
_MARKS = re.compile(r"[:=<>|+-]")
_COLON = re.compile(r"([:=])")


def _alike() -> dict[int, str]:
    """Return what each character of the table's `looks` looks like."""
    alike: dict[int, str] = {}
    for mark, looks in _TABLE["looks"].items():
        for first, last in re.findall(r"(.)(?:-(.))?", looks):
            alike |= dict.fromkeys(range(ord(first), ord(last or first) + 1), mark)
    return alike


_ALIKE = _alike()
_decomposed = partial(unicodedata.normalize, "NFKD")


def fold(text: str) -> str:
    """Return `text` in plain small letters (NFKD, without accents), digits, line ends and the
    marks : = < > | + - for whatever looks like one; nothing else of it is left."""
    # One by one: putting a long run of accents into their order takes the square of its length.
    plain = "".join(map(_decomposed, text.translate(_ALIKE))).translate(_ALIKE)
    return _DROPPED.sub("", plain.casefold())


def letters(text: str) -> str:
    """Return `text` folded, without its marks."""
    return _MARKS.sub("", fold(text))


class Lines:
    """Tells the lines and tags that no quoted text may hold.

    `own` are the lines of a format, beside turns and verdicts: one that ends with a colon opens
    with these words, `---` is a rule, and any other is how a line begins. `tags` are words in angle
    brackets.
    """

    def __init__(self, own: Iterable[str] = (), tags: Iterable[str] = ()) -> None:
        own, tags = sorted(own), sorted(tags)
        verdicts = (
            "".join(words)
            for count in range(4)
            for words in product(*[QUALIFIERS] * count, VERDICTS)
        )
        opening = {*map(letters, TURNS), *verdicts}
        own_opening = {letters(line) for line in own if line.endswith(":")}
        self._openings = {"=": opening, ":": opening | own_opening}
        self._longest = max(map(len, self._openings[":"]))
        self._whole = {*_TABLE["words"], *map(letters, tags)}
        self._rules = "---" in own
        self._begins = tuple(
            letters(line) for line in own if not line.endswith(":") and letters(line)
        )
        named = "|".join(map(letters, tags))
        self._tags = re.compile(f"<(?=(?:{named})>)") if tags else None
        self.digest = digest_bytes(json.dumps([*_SOURCE, own, tags]).encode())

    def found(self, text: str) -> list[bool]:
        """Return of every line of `text` whether it reads as one of the lines, or says a tag alone.

        A symbol may be a letter in a circle or a mark such as a trade mark's: both are tried.
        """
        unmarked = _DROPPED.sub("", text.translate(_ALIKE))
        readings = zip(fold(text).split("\n"), fold(unmarked).split("\n"), strict=True)
        return [any(map(self._reads, folded)) for folded in readings]

    def tags(self, text: str) -> list[int]:
        """Return where in `text` the opening brackets of tags stand."""
        if self._tags is None or not self._tags.search(_joined(fold(text))):
            return []
        pieces = [_joined(fold(character)) for character in text]
        places = [place for place, piece in enumerate(pieces) for _ in piece]
        return [places[found.start()] for found in self._tags.finditer("".join(pieces))]

    def _reads(self, folded: str) -> bool:
        said = _MARKS.sub("", folded)
        if not said:
            return self._rules and folded.endswith("---")
        if said in self._whole or said.startswith(self._begins) or _HAZARDS.fullmatch(said):
            return True
        return self._opens(folded)

    def _opens(self, folded: str) -> bool:
        """Return whether the letters before one of the colons are an opening."""
        pieces = _COLON.split(folded)
        head = ""
        for piece, colon in zip(pieces[::2], pieces[1::2], strict=False):
            head += _MARKS.sub("", piece)
            if len(head) > self._longest:
                return False
            if head in self._openings[colon]:
                return True
        return False


def _joined(folded: str) -> str:
    """Return what is folded without all but its letters and angle brackets."""
    return re.sub(r"[^\w<>]", "", folded)
