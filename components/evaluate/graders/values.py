"""What is stated as a result, as a value: a number, an expression, a list, an interval, a word.

`read` takes the text apart where the brackets are balanced; what remains whole is a number, which
is exact, or an expression, which `expressions.py` compares.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from components.evaluate.graders.numbers import PATTERNS as _P
from components.evaluate.graders.numbers import (
    InBase,
    before_unit,
    exact,
    folded_words,
    in_base,
    number_words,
    without_unit,
)
from components.evaluate.graders.spelling import tidy

_HALF_OF_DAY = re.compile(r"(?i)\s*(?:\\text\{\s*)?([ap])\.?\s*m\b\.?\s*\}?$")
_COMMAND = re.compile(r"\\(?![{}])[^\W\d_]*")
LONGEST, DEEPEST = 2000, 8  # characters of a result; brackets in brackets


@dataclass(frozen=True, slots=True)
class Number:
    """A number, with the factor of the sign or word behind it: 1/100 of %, 10^6 of `million`."""

    value: Fraction  # without the factor
    factor: Fraction = Fraction(1)
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Expression:
    """LaTeX that is not taken further apart."""

    latex: str


@dataclass(frozen=True, slots=True)
class Words:
    """Words that are no mathematics, folded."""

    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """Values; `kind` is list, set, tuple, union, matrix, ratio, or the brackets of an interval."""

    kind: str
    items: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """Sides with `=`, `<` and their like between them."""

    signs: tuple[str, ...]
    sides: tuple[str, ...]


Value = Number | InBase | Expression | Words | Group | Relation

UNORDERED = frozenset({"list", "set", "union"})
INTERVALS = frozenset({"()", "[]", "(]", "[)"})


@lru_cache(maxsize=4096)
def read(text: str) -> Value | None:
    """Return what is stated; None for nothing, for what is too long or not to be taken apart."""
    if len(text) > LONGEST:
        return None
    return _read(tidy(text), DEEPEST)


def _read(text: str, depth: int) -> Value | None:
    text = _P["FULL_STOP"].sub("", text.strip()).strip()
    text = _P["HEDGE"].sub("", _P["LABEL"].sub("", text, count=1), count=1).strip()
    if not text or depth == 0:
        return None
    if (inner := _P["ALL_TEXT"].fullmatch(text)) is not None:
        return _read(inner[1], depth - 1)
    if _P["ALL_REALS"].fullmatch(text):
        return group("()", ("-\\infty", "\\infty"), depth)
    if (left_out := _P["ALL_BUT"].fullmatch(text)) is not None:
        return Relation(("ne",), ("x", left_out[1].strip()))
    if (number := number_of(text)) is not None:
        return number
    for reader in (_matrix, _union, _chain, _listed, _bracketed, _ratio, _measured):
        found = reader(text, depth)
        if found is not None:
            return found
    if words := folded_words(text):
        return Words(words)
    return None if _P["UNREADABLE"].search(text) else Expression(text)


def number_of(text: str) -> Number | InBase | None:
    """Return the number that a tidy text is, its unit aside; None where it is none."""
    if (based := in_base(text)) is not None:
        return based
    if (plain := exact(text)) is not None:
        return Number(plain)
    if (word := number_words(text)) is not None:
        return Number(Fraction(word))
    bare, factor, unit = without_unit(text)
    value = None if bare == text else exact(bare)
    return None if value is None else Number(value, factor, unit)


def _matrix(text: str, depth: int) -> Value | None:
    found = _P["MATRIX"].fullmatch(text)
    if found is None:
        return None
    rows = found[2].split("\\\\")
    return _group("matrix", [group("tuple", r.split("&"), depth) for r in rows if r.strip()])


def _union(text: str, depth: int) -> Value | None:
    parts = split(text, _P["CUP"])
    if len(parts) < 2 and _P["RELATION"].search(text):
        parts = split(text, _P["OR"])
        if any(re.search(r"[<>]|\\[lg]e\b", part) is None for part in parts):
            return None
    return group("union", parts, depth) if len(parts) > 1 else None


def _chain(text: str, depth: int) -> Value | None:
    if len(split(text, _P["COMMA"])) > 1 or len(split(text, _P["OR"])) > 1:
        return None
    sides, signs = _parted(text, _P["RELATION"])
    if len(sides) < 2:
        return None
    between = tuple(sign.lstrip("\\") for sign in signs)
    if between == ("in",):
        return _read(sides[1], depth - 1)
    if "\\pm" in text and set(between) == {"="} and _P["NAME"].fullmatch(sides[0]):
        return _read(sides[-1], depth - 1)
    return Relation(between, tuple(side.strip() for side in sides))


def _listed(text: str, depth: int) -> Value | None:
    for part in (_P["OR"], _P["COMMA"]):
        parts = split(text, part)
        if len(parts) > 1:
            if part is _P["COMMA"]:
                parts = [item for item in parts if item.strip()]
            return group("list", [p for item in parts for p in _both(item)], depth)
    both = _both(text)
    return group("list", both, depth) if len(both) > 1 else None


def _both(text: str) -> list[str]:
    """Return the two values of one with a plus-minus sign, or the one of one without."""
    if not _P["PLUS_MINUS"].search(text):
        return [text]
    upper = _P["PLUS_MINUS"].sub(lambda m: "+" if m[1] == "pm" else "-", text).strip().lstrip("+")
    return [upper, _P["PLUS_MINUS"].sub(lambda m: "-" if m[1] == "pm" else "+", text)]


def _bracketed(text: str, depth: int) -> Value | None:
    opening, closing = text[0], text[-1]
    inner = text[1:-1]
    if text.startswith("\\{") and text.endswith("\\}"):
        opening, closing, inner = "{", "}", text[2:-2]
        if not inner.strip():
            return Words("no solution")
    if text[0] == "]" or text[-1] == "[":  # ]1, 2[ without its ends
        opening, closing = opening.replace("]", "("), closing.replace("[", ")")
    if opening not in "([{" or closing not in ")]}" or len(text) < 2:
        return None
    built = split(inner, _P["BUILT"]) if text.startswith("\\{") else []
    if len(built) == 2 and _P["MEMBER"].fullmatch(built[0]):
        return _read(built[1], depth - 1)
    if not (parts := split(inner, _P["COMMA"])):
        return None
    if text.startswith("\\{"):
        return group("set", [p for item in parts for p in _both(item)], depth)
    if len(parts) == 1:
        return _read(inner, depth - 1) if opening + closing in ("()", "{}", "[]") else None
    if opening + closing not in INTERVALS or (len(parts) > 2 and opening + closing != "()"):
        return group("list", parts, depth) if opening + closing in ("{}", "[]") else None
    return group(opening + closing if len(parts) == 2 else "tuple", parts, depth)


def _ratio(text: str, depth: int) -> Value | None:
    half = _HALF_OF_DAY.search(text)
    parts = split(text[: half.start()] if half else text, _P["COLON"])
    if len(parts) < 2 or any(exact(part.strip()) is None for part in parts):
        return None
    found = group("ratio", parts, depth)
    if half is None or found is None:
        return found
    return Group("ratio", (*found.items, Words(half[1].lower())))


def _measured(text: str, depth: int) -> Value | None:
    """Return the expression before a unit, as of `2\\pi\\text{ cm}`."""
    before = before_unit(text) or ""
    value = None if _P["LONG_WORD"].search(before) else _read(before, depth - 1)
    return value if isinstance(value, Expression) else None


def group(kind: str, parts: Sequence[str], depth: int) -> Group | None:
    """Return the group of what the parts are; None where one of them is nothing."""
    return _group(kind, [_read(part, depth - 1) for part in parts])


def _group(kind: str, items: Sequence[Value | None]) -> Group | None:
    read_ones = tuple(item for item in items if item is not None)
    return Group(kind, read_ones) if len(read_ones) == len(items) else None


# --- where a formula can be parted: outside all of its brackets ----------------------------------


def split(text: str, separator: re.Pattern[str]) -> list[str]:
    """Return the parts between separators outside all brackets; none for unbalanced brackets."""
    return _parted(text, separator)[0]


def _parted(text: str, separator: re.Pattern[str]) -> tuple[list[str], list[str]]:
    """Return the parts, and the separators between them.

    Round and square brackets may close each other, as intervals do.
    """
    parts: list[str] = []
    separators: list[str] = []
    depth = begin = position = 0
    while position < len(text) and depth >= 0:
        found = separator.match(text, position) if depth == 0 else None
        if found:
            parts.append(text[begin:position])
            separators.append(found[0].strip())
            begin = position = found.end()
            continue
        command = _COMMAND.match(text, position)
        if command:
            position = command.end()
            continue
        depth += (text[position] in "([{") - (text[position] in ")]}")
        position += 1
    return ([*parts, text[begin:]], separators) if depth == 0 else ([], [])
