"""Whether an answer holds the reference answer.

What counts is the answer's last number, or the content of its last \\boxed{} where there is one.
Numbers are compared exactly, as fractions: 1,200 = 1200.0 and 1/2 = 0.5. What is not a plain number
goes to math-verify, which knows LaTeX. The grader is strict where it matters: a sum that was not
worked out ("3 + 4") is no answer, so that echoing the problem scores nothing, and so is no text.
It is lenient in one way: it does not ask whether the last number was meant as the answer.
"""

from __future__ import annotations

import logging
import re
import threading
from fractions import Fraction

_NUMBER = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:/\d+)?", re.ASCII)
_DIGITS = frozenset("0123456789")
_OPERATORS = frozenset("+-*/×·^")
_PUNCTUATION = "()[]*_\"'`:;,!?=$€£%"
_NOT_WORKED_OUT = re.compile(r"[\d)}]\s*(?:[-+*×·]|\\times|\\cdot)\s*[\d({\\]")
_LONGEST = 2000  # characters; an answer is at its end
_SECONDS = 3  # for an expression that would take for ever, such as a tower of powers

# It reports expressions that it cannot read, with their text; that they failed is all we need.
logging.getLogger("math_verify").setLevel(logging.CRITICAL)


def is_correct(answer: str, reference: str) -> bool:
    """Return whether the final result in `answer` is `reference`."""
    boxed = _boxed(answer)
    final = (answer if boxed is None else boxed)[-_LONGEST:].replace("−", "-").strip()
    expected = plain_number(reference)
    if not final:
        return False
    if final == reference.strip() or (expected is not None and last_number(final) == expected):
        return True
    if boxed is not None:
        final = _as_mathematics(final)
    return _verified(final, reference, worked_out=expected is not None)


def plain_number(word: str) -> Fraction | None:
    """Return the number that `word` is, currency signs and punctuation aside; None for none."""
    bare = word.strip().replace("\\$", "").strip(_PUNCTUATION).rstrip(".").replace("−", "-")
    bare = bare.replace("-$", "-").strip(_PUNCTUATION)
    if not _NUMBER.fullmatch(bare) or _DIGITS.isdisjoint(bare):
        return None
    upper, _, lower = bare.replace(",", "").partition("/")
    if not upper.strip("+-") or (lower and int(lower) == 0):
        return None
    return Fraction(upper) / int(lower or 1)


def last_number(text: str) -> Fraction | None:
    """Return the number in the last word with a digit; None where that word is not one.

    Behind a lone operator it is part of a sum ("6 - 3"), not a result.
    """
    words = text.split()
    last = next((i for i in reversed(range(len(words))) if not _DIGITS.isdisjoint(words[i])), None)
    if last is None or (last > 0 and words[last - 1] in _OPERATORS):
        return None
    return plain_number(words[last])


def _boxed(text: str) -> str | None:
    """Return the content of the last \\boxed{...}, braces balanced; None where there is none."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    start += len("\\boxed{")
    depth = 1
    for position, character in enumerate(text[start:], start):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return text[start:position]
    return None


def _verified(final: str, reference: str, *, worked_out: bool) -> bool:
    """Return math-verify's word; with `worked_out`, an arithmetic expression does not count."""
    from math_verify import parse, verify

    # Its time limits are signals, which only the main thread can set.
    limit = _SECONDS if threading.current_thread() is threading.main_thread() else None
    gold = parse(_as_mathematics(reference), parsing_timeout=limit)
    found = parse(final, parsing_timeout=limit)
    extracted = [part for part in found if isinstance(part, str)]
    if worked_out and any(_NOT_WORKED_OUT.search(part) for part in extracted):
        return False
    return bool(gold and found and verify(gold, found, timeout_seconds=limit))


def _as_mathematics(text: str) -> str:
    marked = any(mark in text for mark in ("$", "\\(", "\\["))
    return text if marked else f"${text}$"
