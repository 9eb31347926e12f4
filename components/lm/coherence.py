"""Whether a text says anything: language, mathematics, a table or code, and no loop."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

# Marks of formats, with the name of who speaks, and what surrounds formulas, code and emphasis.
_TAG = re.compile(
    r"(?:<\|[^|\n]{0,40}\|>|<start_of_turn>)"
    r"(?:\s*(?:assistant|user|system|model|final|analysis|commentary)\b)?"
    r"|</?[a-z_|][^<>\n]{0,80}>|\[/?(?-i:[A-Z_]{2,20})\]|◁[^▷\n]{0,40}▷",
    re.IGNORECASE,
)
_AROUND = re.compile(r"\*+|__+|~~+|`+|\$+|\\[()\[\]]")
_RULE = re.compile(r"^[\s|:+=_*-]*$", re.MULTILINE)  # lines that only divide
# Where these stand, marks carry meaning: formulas, tables, code.
_NOTATION = re.compile(r"[\\|=^{}+<>$→∑∏∫√≤≥≈×÷±∈]|[(\[]|[-−]\d|\d\s?%")
_ROW = re.compile(r"\|.*\|")
_WORDS = 12  # in which a loop shows
_RUN = 8  # characters that are a word where nothing stands between words


def is_coherent(text: str) -> bool:
    """Return whether `text` says something: letters and digits with marks between, and no loop.

    Of prose at most 40 % may be marks, of formulas, tables and code 75 %; marks around them and
    tags count for nothing. A loop: of twelve words
    or more (of three rows of a table, of forty characters without blanks), fewer than half of the
    word triples (rows, runs of eight characters) are distinct.
    """
    tagless = _RULE.sub("", _TAG.sub(" ", text))
    said = _AROUND.sub("", tagless)
    characters = "".join(said.split())
    meant = sum(map(str.isalnum, characters))
    if not meant or meant < (0.25 if _NOTATION.search(tagless) else 0.6) * len(characters):
        return False
    rows = [line for line in said.split("\n") if _ROW.search(line)]
    if len(rows) >= 3:
        return _mostly_distinct(rows)
    words = said.split()
    if 3 * sum(one == next_ for one, next_ in pairwise(words) if one.isalpha()) >= len(words) > 4:
        return False
    if len(words) >= _WORDS:
        return _mostly_distinct(list(zip(words, words[1:], words[2:], strict=False)))
    runs = [characters[start : start + _RUN] for start in range(len(characters) - _RUN + 1)]
    return len(characters) < 5 * _RUN or _mostly_distinct(runs)


def _mostly_distinct(parts: Sequence[object]) -> bool:
    return 2 * len(set(parts)) >= len(parts)
