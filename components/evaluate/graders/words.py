"""Words: units and others behind a number, those that are numbers, and those that are a result."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

from components.core.documents import read_yaml
from components.core.patterns import read_patterns

PATTERNS = _P = read_patterns(Path(__file__).with_name("values.yaml"))
_TABLE = read_yaml(Path(__file__).with_suffix(".yaml"))


def _words(key: str) -> frozenset[str]:
    return frozenset(str(_TABLE[key]).split())


_WORDS: dict[str, int] = _TABLE["numbers"]
_SCALES: dict[str, int] = _TABLE["scales"]
_CHANGE_IT = _words("changing") | frozenset(_WORDS)
_SHORT, _ATTACHED, _WHOLE_WORDS = _words("short"), _words("attached"), _words("whole")
_PERCENT, _SAME = _words("percent"), _TABLE["same"]
_LONGEST = 200  # characters of a number with its unit


def without_unit(text: str) -> tuple[str, Fraction, str]:
    """Return the number's text, the factor of the sign or word behind it, and the unit.

    The factor is 1/100 of a percent sign and 10^6 of `million`. The text comes back as it is
    where what is behind it is no unit: `5 and a half`, `5x`.
    """
    if len(text) > _LONGEST:
        return text, Fraction(1), ""
    bare = _P["CODES"].sub("", _P["RAISED_WORD"].sub(r"\1", text))
    found = _P["UNIT"].fullmatch(bare)
    if found is None or ".." in found["unit"]:
        return bare, Fraction(1), ""
    words = _P["LETTERS"].findall(found["unit"].replace("\\text", " ").replace("\\cdot", " "))
    percent = "%" in found["unit"] or bool(_PERCENT & {word.lower() for word in words})
    factor = Fraction(1, 100) if percent else Fraction(1)
    while words and words[0].lower().rstrip("s") in _SCALES:
        factor *= _SCALES[words.pop(0).lower().rstrip("s")]
    changed = any(word.lower() in _CHANGE_IT or word.lower() in _SCALES for word in words)
    in_text = "\\text" in found["unit"]
    variable = not in_text and any(len(w) < 3 and w.isascii() and w not in _SHORT for w in words)
    close = not found["gap"] and not in_text and "^" not in found["unit"]
    if changed or variable or (close and words and words[0] in _ATTACHED):
        return text, Fraction(1), ""
    return found["number"].strip(), factor, " ".join(words)


def before_unit(text: str) -> str | None:
    r"""Return the expression before words in `\text`, as of `2\pi\text{ cm}`; None where there are
    no digits in it, or the words change it."""
    found = _P["UNIT_BEHIND"].fullmatch(text)
    if found is None or re.search(r"\d|\\pi", found[1]) is None:
        return None
    words = {word.lower() for word in _P["LETTERS"].findall(found[2])}
    return None if words & _CHANGE_IT.union(_SCALES) else found[1]


def different_units(one: str, other: str) -> bool:
    """Return whether both are physical units of one word that sympy knows, and not the same."""
    if not one or not other or one == other:
        return False
    from sympy.physics import units

    found = [getattr(units, word, None) for word in (one, other)]
    return all(isinstance(unit, units.Quantity) for unit in found) and found[0] != found[1]


def number_words(text: str) -> int | None:
    """Return the number that English words spell, such as twenty-one; None for other words."""
    words = _P["LETTERS"].findall(text.replace("\\text", " ").lower())
    if not words or len(words) > 12 or not set(words) <= {*_WORDS, *_SCALES, "and"} - {"dozen"}:
        return None
    if _P["LETTERS"].sub("", text.replace("\\text", "")).strip(" {}-.,") or words[0] not in _WORDS:
        return None
    total = part = 0
    last = 1000
    for word in words:
        if word == "and":
            continue
        if word in _SCALES:
            part = max(part, 1) * _SCALES[word]
            if _SCALES[word] >= 1000:
                total, part = total + part, 0
            last = 1000
        elif (_WORDS[word] < 10 <= last < 100 and last >= 20) or last >= 100:
            part += _WORDS[word]
            last = _WORDS[word]
        else:
            return None  # "five six" is two numbers
    return total + part


def changes_number(words: str) -> bool:
    """Return whether the words behind a number begin with one that makes it a part of another."""
    first = _P["LETTERS"].search(words)
    if first is None or not words.strip()[:1].isalpha():
        return False
    return first[0].lower() in _CHANGE_IT or first[0].lower().rstrip("s") in _SCALES


def folded_words(text: str) -> str:
    """Return the words that a tidy text is, in small letters; an empty text for mathematics."""
    if text.strip() == "\\emptyset":
        return "no solution"
    worded = _P["LONG_WORD"].search(text) or text.casefold() in _WHOLE_WORDS
    if not worded and not (_P["ONLY_TEXT"].fullmatch(text) and "\\text" in text):
        return ""
    bare = re.sub(r"\\text\{([^{}]*)\}", r"\1", text)
    folded = " ".join(re.sub(r"[.,!?'\"]", "", bare).casefold().split())
    return _SAME.get(folded, folded)
