"""Numbers as exact fractions, whatever their spelling, and words beside or in place of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from components.core.documents import read_yaml
from components.core.patterns import read_patterns

_LONGEST = 1000  # digits
_GREATEST_EXPONENT = 1000
_FORMS = read_patterns(Path(__file__).with_suffix(".yaml"), re.ASCII)
PATTERNS = _P = read_patterns(Path(__file__).with_name("values.yaml"))
_TABLE = read_yaml(Path(__file__).with_name("words.yaml"))
_SPELT: dict[str, int] = _TABLE["numbers"]
_SCALES: dict[str, int] = _TABLE["scales"]
_CHANGING, _SHORT, _ATTACHED, _PERCENT, _WHOLE_WORDS = (
    frozenset(_TABLE[key].split()) for key in ("changing", "short", "attached", "percent", "whole")
)
_CHANGE_IT = _CHANGING | frozenset(_SPELT)
_LONGEST_UNIT = 200  # characters of a number with its unit
_IN_A_BASE = re.compile(
    r"\(?\s*(?P<digits>[0-9A-Za-z]+(?: \d{3,4})*)\s*\)?\s*"
    r"(?:_\s*\{?\s*\(?\s*(?P<base>\d{1,2})\s*\)?\s*\}?"
    r"|_\s*\{?\s*(?:\\text\{\s*)?(?P<name>[a-z]+)\s*\}?\s*\}?"
    r"|,?\s*\(?\s*(?:\\text\{\s*)?\(?(?:in )?base\s*-?(?:\s*\})?\s*(?P<number>\d{1,2})[\s)}]*)"
    r"|0(?P<prefix>[bBoOxX])(?P<behind>[0-9A-Fa-f]+)"
)
_PREFIXES = {"b": 2, "o": 8, "x": 16}
NOT_WORKED_OUT = re.compile(
    r"[\d)}!]\s*(?:[-+/]|\\times|\\cdot|\\div)\s*(?:[\d({]|\\(?!text))|\)\s*\("
)
# 10/2 is 5 no more than 2 + 3 is; 5/1 is as good as 5.
_QUOTIENT = re.compile(
    r"-?\(?\d+\)?\s*/\s*\(?(?!1\b)\d+\)?|-?\\frac\s*\{-?\d+\}\s*\{(?!1\})-?\d+\}"
)
_NAMED_BASES = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
                "nine": 9, "ten": 10, "twelve": 12, "sixteen": 16}  # fmt: skip


@dataclass(frozen=True, slots=True)
class InBase:
    """Digits that are read in a base other than ten."""

    digits: str  # without leading zeros, in capitals
    base: int


def exact(text: str) -> Fraction | None:
    """Return the number that the whole of `text` is; None where it is none, or is too long.

    1,200 and 1 200 and 1'200, .5, 3/4, \\frac{3}{4}, 1 1/2, 5 \\times 10^{3}, 5e3, 0.(3) and
    0.\\overline{3} are numbers. `1,2` is none: it may be two.
    """
    if len(text) > _LONGEST or not any("0" <= character <= "9" for character in text):
        return None
    text = text.strip()
    for form in _FORMS.values():
        if found := form.fullmatch(text):
            return _value(found.groupdict())
    return None


def in_base(text: str) -> InBase | None:
    """Return the digits and the base of `1011_2`, `1011 in base 2` or `0b1011`; None for anything
    else."""
    found = _IN_A_BASE.fullmatch(text.strip())
    if found is None:
        return None
    if name := found["name"] or found["prefix"]:
        base = (_NAMED_BASES | _PREFIXES).get(name.lower(), 0)
    else:
        base = int(found["base"] or found["number"])
    digits = (found["digits"] or found["behind"]).replace(" ", "").upper().lstrip("0") or "0"
    if not 2 <= base <= 36 or any(int(digit, 36) >= base for digit in digits):
        return None
    return InBase(digits, base)


def _value(parts: dict[str, str | None]) -> Fraction | None:
    sign = -1 if parts["sign"] == "-" else 1
    if (exponent := parts.get("exponent")) is not None:
        if abs(int(exponent)) > _GREATEST_EXPONENT:
            return None
        scale = Fraction(10) ** int(exponent)
        return sign * scale * (1 if parts.get("ten") else _decimal(parts["decimal"] or ""))
    if (decimal := parts.get("decimal")) is not None:
        return sign * _decimal(decimal)
    if (european := parts.get("european")) is not None:
        return sign * _decimal(european.replace(".", "").replace(",", "."))
    if (fixed := parts.get("fixed")) is not None:
        again = parts.get("bar") or parts.get("bracket") or parts.get("period") or "0"
        return sign * _repeating(fixed, again)
    upper, lower = _decimal(parts["upper"] or ""), _decimal(parts["lower"] or "")
    if lower == 0:
        return None
    return sign * (int(parts.get("whole") or 0) + upper / lower)


def _decimal(text: str) -> Fraction:
    return Fraction(re.sub(r"[, '_]", "", text).rstrip(".") or 0)


def _repeating(fixed: str, again: str) -> Fraction:
    places = len(fixed.partition(".")[2])
    period = Fraction(int(again), 10 ** len(again) - 1)
    return (_decimal(fixed) if fixed.strip(".") else Fraction(0)) + period / 10**places


def is_quotient(text: str) -> bool:
    """Return whether a tidy text is a fraction of two whole numbers, other than of 1."""
    return _QUOTIENT.fullmatch(text.strip()) is not None


def fraction(number: Fraction) -> str:
    """Return a number as LaTeX."""
    sign = "-" if number < 0 else ""
    if number.denominator == 1:
        return f"{number}"
    return rf"{sign}\frac{{{abs(number.numerator)}}}{{{number.denominator}}}"


def without_unit(text: str) -> tuple[str, Fraction, str]:
    """Return the number's text, the factor of the sign or word behind it, and the unit.

    The factor is 1/100 of a percent sign and 10^6 of `million`. The text comes back as it is
    where what is behind it is no unit: `5 and a half`, `5x`.
    """
    if len(text) > _LONGEST_UNIT:
        return text, Fraction(1), ""
    bare = _P["CODES"].sub("", _P["RAISED_WORD"].sub(r"\1", text))
    found = _P["UNIT"].fullmatch(bare)
    if found is None or ".." in found["unit"]:
        return bare, Fraction(1), ""
    words = _P["LETTERS"].findall(re.sub(r"\\text|\\cdot", " ", found["unit"]))
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
    if not words or len(words) > 12 or not set(words) <= {*_SPELT, *_SCALES, "and"} - {"dozen"}:
        return None
    if _P["LETTERS"].sub("", text.replace("\\text", "")).strip(" {}-.,") or words[0] not in _SPELT:
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
        elif (_SPELT[word] < 10 <= last < 100 and last >= 20) or last >= 100:
            part += _SPELT[word]
            last = _SPELT[word]
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
    return _TABLE["same"].get(folded, folded)
