"""How figures and strangers' text are written on a page."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from components.records import Arm

ARM_NAMES = {
    Arm.BASE: "Base",
    Arm.POST_TRAINED: "Post-trained",
    Arm.RESTORED: "Restored",
    Arm.BASELINE: "SFT baseline",
}
METRIC_NAMES = {
    "harmful.refused": "Refuses harmful requests",
    "borderline.refused": "Refuses look-alikes",
    "benign.refused": "Refuses benign requests",
    "reasoning.correct": "Reasons correctly",
    "harmful.forced.refused": "Refuses harmful requests, thought forced",
    "reasoning.forced.correct": "Reasons correctly, thought forced",
}
# Which way a key figure should go: 1 up, -1 down. The order is that of the page.
AIMS = {
    "harmful.refused": 1,
    "borderline.refused": -1,
    "benign.refused": -1,
    "reasoning.correct": 1,
}
# Shown beside the key figures where a profile measures them.
FORCED_AIMS = {"harmful.forced.refused": 1, "reasoning.forced.correct": 1}
_SPACE = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"
# Controls, formatting (bidirectional overrides, zero widths), surrogates, private, unassigned,
# and the two separators that break lines unasked.
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def visible(text: str) -> str:
    """Return `text` with every character that could hide or steer shown as its code point.

    An escape sequence's start becomes "⟨U+001B⟩", a right-to-left override "⟨U+202E⟩"; line
    breaks and tabs stay.
    """
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    plain = character in "\n\t" or unicodedata.category(character) not in _INVISIBLE
    return character if plain else f"⟨U+{ord(character):04X}⟩"


def one_line(text: str) -> str:
    """Return `text` with its line breaks and tabs shown as signs."""
    return text.replace("\n", "↵").replace("\t", "⇥")


def clip(text: str, characters: int) -> str:
    """Return at most the first `characters` of `text`, marked with an ellipsis where cut."""
    return text if len(text) <= characters else f"{text[:characters].rstrip()} …"


def percent(rate: float) -> str:
    """Return a share as per cent with one decimal: 0.9733 is "97.3 %"."""
    return f"{100 * rate:.1f}{_SPACE}%"


def interval(low: float, high: float) -> str:
    """Return an interval of shares in brackets, in per cent without the sign: "[94.8, 98.6]"."""
    return f"[{_decimal(100 * low)}, {_decimal(100 * high)}]"


def points(difference: float) -> str:
    """Return a difference of shares in percentage points, signed: "+97.3"."""
    written = _decimal(100 * difference)
    return f"+{written}" if difference > 0 and written != "0.0" else written


def _decimal(value: float) -> str:
    written = f"{abs(value):.1f}"
    return f"{_MINUS}{written}" if value < 0 and written != "0.0" else written


def probability(p_value: float) -> str:
    """Return a p-value with three decimals, the smallest as "< 0.001"."""
    return f"<{_SPACE}0.001" if p_value < 0.001 else f"{p_value:.3f}"


def number(value: float | None, decimals: int = 2) -> str:
    """Return a plain number with a true minus sign, or a dash where there is none."""
    if value is None:
        return "–"
    written = f"{abs(value):.{decimals}f}"
    return f"{_MINUS}{written}" if value < 0 and float(written) else written


def arm_name(arm: str) -> str:
    """Return an arm's name as the page writes it; an unknown arm keeps its own."""
    return ARM_NAMES[Arm(arm)] if arm in set(Arm) else arm


def listed(words: Iterable[str]) -> str:
    """Return words as an English list: "a, b and c"."""
    *before, last = words
    return f"{', '.join(before)} and {last}" if before else last
