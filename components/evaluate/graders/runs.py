"""The last number of a text, with what belongs to it: `3 + 4 = 7`, `1 1/2`, `5 million`."""

from __future__ import annotations

import re

from components.evaluate.graders.results import PATTERNS as _P

_LONGEST = 400  # characters before the last digit that may belong to its number
_NAMES = frozenset({"sqrt", "pi", "mod"})
_BINARY = frozenset("+*/^=<>×÷·≤≥≠≈") | {"-"}


def last_run(text: str) -> tuple[str, int]:
    """Return the formula that the last digit of a text belongs to, and where the digit is.

    An empty text, and 0, for a text without digits. Powers of units, as in cm^2, and digits behind
    letters are no numbers.
    """
    bare = _P["NO_NUMBER"].sub(lambda match: "x" * len(match[0]), text)
    end = next((i for i in range(len(bare), 0, -1) if "0" <= bare[i - 1] <= "9"), 0)
    if end == 0:
        return "", 0
    start = max(end - _LONGEST, 0)
    while 0 < start < end and text[start - 1].isalnum():
        start += 1
    pieces = [(m.lastgroup or "", m[0]) for m in _P["TOKEN"].finditer(text, start, end)]
    run = _belonging(pieces)
    trailing = _P["TRAILING"].match(text, end)
    return _balanced(run + (trailing[0] if trailing else "")), end


def _belonging(pieces: list[tuple[str, str]]) -> str:
    """Return the pieces at the end that are one formula, as text."""
    run: list[tuple[str, str]] = []
    for kind, piece in reversed(pieces):
        if kind in ("stop", "other") or piece in ("=", "≈"):
            break
        if kind == "word" and len(piece) > 1 and piece not in _NAMES:
            if not piece.isalpha():
                return piece + "".join(word for _, word in run)  # digits within a word
            if not _within_braces(run):
                break
        run.insert(0, (kind, piece))
        if kind == "space" and not _goes_on(pieces, run):
            break
    return _without_bullet(run)


def _within_braces(run: list[tuple[str, str]]) -> bool:
    depth = 0
    for _, piece in run:
        depth += (piece == "{") - (piece == "}")
        if depth < 0:
            return True
    return False


def _goes_on(pieces: list[tuple[str, str]], run: list[tuple[str, str]]) -> bool:
    """Return whether what is before the space at the front of `run` belongs to what is behind."""
    before = pieces[: len(pieces) - len(run)]
    if not before:
        return False
    kind, piece = before[-1]
    if _within_braces(run[1:]):
        return True
    after_kind, after = run[1] if len(run) > 1 else ("", "")
    if kind == "operator" and piece in _BINARY:
        return True
    if after_kind == "operator" and after in _BINARY:
        signed = after in "-+" and len(run) > 2 and run[2][0] != "space"
        return kind in ("mixed", "close", "command") or (
            not signed and kind == "word" and len(piece) == 1
        )
    if kind == "command" or after_kind == "command":
        return kind in ("mixed", "close", "command", "operator")
    grouped = re.fullmatch(r"\d{3}|\d+/\d+", after) and re.fullmatch(r"\d{1,3}", piece)
    return kind == "mixed" and grouped is not None


def _without_bullet(run: list[tuple[str, str]]) -> str:
    """Return the text of a formula, without the dash or star of a list before it."""
    while run and (run[0][0] in ("space", "close") or run[0][1] in "*/%|_^"):
        del run[0]
    if len(run) > 1 and run[0][1] == "-" and run[1][0] == "space":
        del run[:2]
    return "".join(piece for _, piece in run)


def _balanced(run: str) -> str:
    """Return the run without brackets that have no other half in it."""
    pairs = {")": "(", "}": "{", "]": "["}
    opened: list[tuple[str, int]] = []
    odd: set[int] = set()
    for place, character in enumerate(run):
        if character in "({[":
            opened.append((character, place))
        elif character in pairs:
            if opened and opened[-1][0] == pairs[character]:
                opened.pop()
            else:
                odd.add(place)
    odd |= {place for _, place in opened}
    return "".join(c for place, c in enumerate(run) if place not in odd).strip()
