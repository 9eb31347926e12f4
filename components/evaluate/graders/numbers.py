"""Numbers as exact fractions, whatever their spelling."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from components.core.patterns import read_patterns

_LONGEST = 1000  # digits
_GREATEST_EXPONENT = 1000
_FORMS = read_patterns(Path(__file__).with_suffix(".yaml"), re.ASCII)
_IN_A_BASE = re.compile(
    r"\(?\s*(?P<digits>[0-9A-Za-z]+)\s*\)?\s*"
    r"(?:_\s*\{?\s*(?P<base>\d{1,2})\s*\}?|_\s*\{?\s*\\text\{\s*(?P<name>[a-z]+)\s*\}\s*\}?"
    r"|,?\s*(?:\\text\{\s*)?(?:in )?base\s*-?(?:\s*\})?\s*(?P<number>\d{1,2}))"
)
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
    """Return the digits and the base of `1011_2` or `1011 in base 2`; None for anything else."""
    found = _IN_A_BASE.fullmatch(text.strip())
    if found is None:
        return None
    name = found["name"]
    base = _NAMED_BASES.get(name, 0) if name else int(found["base"] or found["number"])
    digits = found["digits"].upper().lstrip("0") or "0"
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
