"""Words: units and others behind a number, those that are numbers, and those that are a result."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

from components.core.patterns import read_patterns

PATTERNS = _P = read_patterns(Path(__file__).with_name("values.yaml"))
_SMALL_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_TENS_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS = {
    **{word: number for number, word in enumerate(_SMALL_WORDS.split())},
    **{word: number for number, word in zip(range(20, 100, 10), _TENS_WORDS.split(), strict=True)},
}
_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9,
           "trillion": 10**12, "dozen": 12}  # fmt: skip
# With one of these behind it, a number is only a part of what is meant.
_CHANGING_WORDS = (
    "squared cubed factorial choose mod modulo and or to minus plus times divided over half "
    "quarter quarters third thirds halves sin cos tan log ln exp sqrt is not less than pi infinity"
)
_CHANGE_IT = frozenset(_CHANGING_WORDS.split()) | frozenset(_WORDS)
# Of one or two letters, what is no variable.
_ABBREVIATIONS = (
    "m s g h l L N J W V K C F A km cm mm dm nm kg mg ml mL hr hrs ft in lb oz yd mi am pm st nd "
    "rd th Hz kW cl dl cc ha sq cu pt gb GB mb MB kb KB TB"
)
_SHORT = frozenset(_ABBREVIATIONS.split())
_ATTACHED = frozenset("msghxklLNJWVKCFA")  # `5x` may be a product
_LONGEST = 200  # characters of a number with its unit
_PERCENT = frozenset({"percent", "percentage", "pct"})
_WHOLE_WORDS = frozenset({"yes", "no", "odd", "even", "dne", "true", "both", "none"})
_SAME = {
    "does not exist": "dne", "undefined": "undefined", "no solutions": "no solution",
    "there is no solution": "no solution", "there are no solutions": "no solution",
    "no real solutions": "no real solution", "empty set": "no solution",
    "the empty set": "no solution", "none": "no solution",
}  # fmt: skip


def without_unit(text: str) -> tuple[str, Fraction, str]:
    """Return the number's text, the factor of the sign or word behind it, and the unit.

    The factor is 1/100 of a percent sign and 10^6 of `million`.

    The text comes back as it is where what is behind it is no unit: `5 and a half`, `5x`.
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
    if any(word.lower() in _CHANGE_IT or word.lower() in _SCALES for word in words):
        return text, Fraction(1), ""
    in_text = "\\text" in found["unit"]
    if not in_text and any(
        len(word) < 3
        and word.isascii()
        and word not in _SHORT
        and word.lower() not in ("of", "a", "per", "an")
        for word in words
    ):
        return text, Fraction(1), ""
    attached = not found["gap"] and not in_text and words and "^" not in found["unit"]
    if attached and words[0] in _ATTACHED:
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
