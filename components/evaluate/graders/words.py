"""Words that are a result: which they are, and which of them say the same."""

from __future__ import annotations

import re

ALL_REALS = re.compile(
    r"\\mathbb\{R\}|(?:\\text\{\s*)?all (?:real numbers|reals)\s*\}?", re.IGNORECASE
)
ONLY_TEXT = re.compile(r"(?:\\text\{[^{}]*\}|[^\W\d_]|[\s.,'!?-])+")
LONG_WORD = re.compile(r"(?<![\\A-Za-z])[^\W\d_]{4,}|\\text\{[^{}]*[^\W\d_]{2,}")
_SHORT_WORDS = frozenset({"yes", "no", "odd", "even", "dne", "true", "both", "none"})
_SAME = {
    "does not exist": "dne", "undefined": "undefined", "no solutions": "no solution",
    "there is no solution": "no solution", "there are no solutions": "no solution",
    "no real solutions": "no real solution", "empty set": "no solution",
    "the empty set": "no solution", "none": "no solution",
}  # fmt: skip


def folded_words(text: str) -> str:
    """Return the words that a tidy text is, in small letters; an empty text for mathematics."""
    if text.strip() == "\\emptyset":
        return "no solution"
    worded = LONG_WORD.search(text) or text.casefold() in _SHORT_WORDS
    if not worded and not (ONLY_TEXT.fullmatch(text) and "\\text" in text):
        return ""
    bare = re.sub(r"\\text\{([^{}]*)\}", r"\1", text)
    folded = " ".join(re.sub(r"[.,!?'\"]", "", bare).casefold().split())
    return _SAME.get(folded, folded)
