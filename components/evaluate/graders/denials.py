"""Numbers in prose that are denied, compared with, or left open between two."""

from __future__ import annotations

import re

_NUMBER = r"(?:\\boxed\{|\\?\$|\*\*|\\\()?[-+]?\.?\d(?:[\d.,:/]{0,40}\d)?%?(?:\\?\$|\*\*|\\\))?"
_BEFORE = (
    r"(?:\b(?:not|never|no longer|cannot be|rather than|instead of|anything but)|n't|\s!="
    r"|\b(?:less|greater|more|fewer|smaller|larger|higher|lower) than)"
    r"(?:\s(?:be|exactly|equal to|simply|just))?\s{0,2}"
)
_AFTER = (
    r"\s(?:(?:is|was|can|could|must|would|does)(?:n't|\s(?:not|never|wrong|incorrect|false|"
    r"impossible)\b)|cannot\b)"
)
_DENIED = re.compile(
    rf"{_BEFORE}{_NUMBER}|\bneither\s{_NUMBER}\snor\s{_NUMBER}|(?<![\d.,]){_NUMBER}{_AFTER}",
    re.IGNORECASE,
)
_NEGATIVE = re.compile(r"\bnegative\s+(?=[\d.])|(?<=\bis )minus\s+(?=[\d.])", re.IGNORECASE)
_SEVERAL = re.compile(
    rf"(?:{_NUMBER}(?:\s[a-z]{{1,20}})?\sor|\bbetween\s{_NUMBER}(?:\s[a-z]{{1,20}})?\sand)"
    rf"\s{_NUMBER}\Z|[(\[]\s*{_NUMBER}(?:(?:,\s|;)\s*{_NUMBER}){{1,9}}\s*[)\]]\Z",
    re.IGNORECASE,
)
_FAR = 200  # characters before the last digit in which the other numbers are
DENIED_BOX = re.compile(r"(?:\bnot|\bnever|n't)(?:\sbe)?\s*(?:\$|\*\*|\\\(|\\\[)*\s*\Z", re.I)


def undenied(text: str) -> str:
    """Return the text without the numbers that it denies, as `not 5`, or compares with, as `more
    than 5`, and with `negative 5` as -5."""
    return _NEGATIVE.sub("-", _DENIED.sub(" ", text))


def left_open(text: str, end: int) -> str:
    """Return `4 or 5`, `between 4 and 5` or `(4, 5)` where the digit before `end` is the last of
    such numbers; an empty text where it stands alone."""
    for stop in (end + 1, end):
        found = _SEVERAL.search(text, max(end - _FAR, 0), stop)
        if found is not None:
            return found[0]
    return ""
