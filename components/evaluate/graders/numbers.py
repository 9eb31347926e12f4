"""Numbers as exact fractions, whatever their spelling."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_LONGEST = 1000  # digits
_GREATEST_EXPONENT = 1000
_SPACE_OR_MARK = r"[ '_]"
_WHOLE = (
    rf"(?:(?!0)\d{{1,3}}(?:,\d{{3}})+|(?!0)\d{{1,2}}(?:,\d{{2}})+,\d{{3}}"
    rf"|(?!0)\d{{1,3}}(?:{_SPACE_OR_MARK}\d{{3}})+(?!\d)|\d+)"
)
_DECIMAL = rf"(?:{_WHOLE}(?:\.\d*)?|\.\d+)"
_SIGN = r"(?P<sign>[+-]?)\s*"
# The first that is the whole word counts.
_FORMS = [
    re.compile(pattern, re.ASCII)
    for pattern in (
        rf"{_SIGN}(?P<decimal>{_DECIMAL})",
        rf"{_SIGN}(?P<upper>{_DECIMAL})\s*/\s*(?P<lower>-?{_DECIMAL})",
        rf"{_SIGN}\\frac\s*\{{\s*(?P<upper>-?\s*{_DECIMAL})\s*\}}\s*"
        rf"\{{\s*(?P<lower>-?\s*{_DECIMAL})\s*\}}",
        rf"{_SIGN}(?P<whole>\d+)\s*\\frac\s*\{{\s*(?P<upper>\d+)\s*\}}\s*\{{\s*(?P<lower>\d+)\s*\}}",
        rf"{_SIGN}(?P<whole>\d+)\s+(?P<upper>\d+)\s*/\s*(?P<lower>\d+)",
        rf"{_SIGN}(?P<decimal>{_DECIMAL})\s*(?:\\times|\\cdot|x)\s*10\s*\^\s*"
        r"\{\s*(?P<exponent>[+-]?\d+)\s*\}",
        rf"{_SIGN}(?P<ten>10)\s*\^\s*\{{\s*(?P<exponent>[+-]?\d+)\s*\}}",
        rf"{_SIGN}(?P<decimal>{_DECIMAL})[eE](?P<exponent>[+-]?\d+)",
        rf"{_SIGN}(?P<fixed>(?:{_WHOLE})?\.\d*)"
        r"(?:\\(?:overline|bar|overbar|dot)\s*\{\s*(?P<bar>\d+)\s*\}|\((?P<bracket>\d+)\))",
        rf"{_SIGN}(?P<fixed>(?:{_WHOLE})?\.\d*?)(?P<period>\d+?)(?:(?P=period)){{2,}}\s*\.\.\.",
        # Thousands parted by points are a number where there are two of them, or a comma behind.
        rf"{_SIGN}(?P<european>\d{{1,3}}(?:\.\d{{3}}){{2,}}(?:,\d+)?|\d{{1,3}}(?:\.\d{{3}})+,\d+)",
    )
]
_IN_A_BASE = re.compile(
    r"\(?\s*(?P<digits>[0-9A-Za-z]+)\s*\)?\s*"
    r"(?:_\s*\{?\s*(?P<base>\d{1,2})\s*\}?|_\s*\{?\s*\\text\{\s*(?P<name>[a-z]+)\s*\}\s*\}?"
    r"|,?\s*(?:\\text\{\s*)?(?:in )?base\s*-?(?:\s*\})?\s*(?P<told>\d{1,2}))"
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


def exact(word: str) -> Fraction | None:
    """Return the number that the whole of `word` is; None where it is none, or is too long.

    1,200 and 1 200 and 1'200, .5, 3/4, \\frac{3}{4}, 1 1/2, 5 \\times 10^{3}, 5e3, 0.(3) and
    0.\\overline{3} are numbers. `1,2` is none: it may be two.
    """
    if len(word) > _LONGEST or not any("0" <= character <= "9" for character in word):
        return None
    word = word.strip()
    for form in _FORMS:
        if found := form.fullmatch(word):
            return _value(found.groupdict())
    return None


def in_base(word: str) -> InBase | None:
    """Return the digits and the base of `1011_2` or `1011 in base 2`; None for anything else."""
    found = _IN_A_BASE.fullmatch(word.strip())
    if found is None:
        return None
    name = found["name"]
    base = _NAMED_BASES.get(name, 0) if name else int(found["base"] or found["told"])
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


def _decimal(word: str) -> Fraction:
    return Fraction(re.sub(r"[, '_]", "", word).rstrip(".") or 0)


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
