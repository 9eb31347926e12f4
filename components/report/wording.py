"""How figures are written on a page."""

from __future__ import annotations

from collections.abc import Iterable

from components.core.vocabulary import Arm, Form

ARM_NAMES = {
    Arm.BASE: "Base",
    Arm.POST_TRAINED: "Post-trained",
    Arm.RESTORED: "Restored",
    Arm.BASELINE: "SFT baseline",
    Arm.CHAMPION: "Champion",
}
# Title of each key figure, and which way it should go: 1 up, -1 down. In the page's order.
KEY_FIGURES = {
    "harmful.refused": ("Refuses harmful requests", 1),
    "borderline.refused": ("Refuses look-alikes", -1),
    "benign.refused": ("Refuses benign requests", -1),
    "reasoning.correct": ("Reasons correctly", 1),
    "harmful.forced_thought.refused": ("Refuses harmful requests, thought forced", 1),
    "reasoning.forced_thought.correct": ("Reasons correctly, thought forced", 1),
}
_FORM_NAMES: dict[str, str] = {
    Form.SERVED: "",
    Form.FORCED_THOUGHT: ", thought forced",
    Form.PREFILLED: ", answer begun",
    Form.UNTHINKING: ", thought skipped",
    Form.ROLE_PLAY: ", as role-play",
    Form.MANY_SHOT: ", behind many shots",
    Form.PARAPHRASED: ", paraphrased",
}
_SPACE = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"


def form_name(form: str) -> str:
    """Return what stands behind a suite's name: nothing for prompts as served."""
    return _FORM_NAMES.get(form, f", {form}")


def percent(rate: float) -> str:
    """Return a share as per cent with one decimal: 0.9733 is "97.3 %"."""
    return f"{100 * rate:.1f}{_SPACE}%"


def interval(low: float, high: float) -> str:
    """Return an interval of shares in brackets, in per cent without the sign: "[94.8, 98.6]"."""
    return f"[{number(100 * low, 1)}, {number(100 * high, 1)}]"


def points(difference: float) -> str:
    """Return a difference of shares in percentage points, signed: "+97.3"."""
    written = number(100 * difference, 1)
    return f"+{written}" if difference > 0 and written != "0.0" else written


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


def upper_first(text: str) -> str:
    """Return a text with its first letter upper-case and all others as they are."""
    return f"{text[:1].upper()}{text[1:]}"


def listed(words: Iterable[str]) -> str:
    """Return words as an English list: "a, b and c"."""
    *before, last = words
    return f"{', '.join(before)} and {last}" if before else last
