"""Where a formula can be parted: outside all of its brackets."""

from __future__ import annotations

import re
from collections.abc import Iterator


def split(text: str, separator: re.Pattern[str]) -> list[str] | None:
    """Return the parts between separators outside all brackets; None for unbalanced brackets."""
    places = list(_outside(text, separator))
    if places and places[-1] is None:
        return None
    edges = [0, *(edge for place in places if place for edge in place), len(text)]
    return [text[edges[i] : edges[i + 1]] for i in range(0, len(edges), 2)]


def signs(text: str, separator: re.Pattern[str]) -> list[str]:
    """Return the separators outside all brackets."""
    return [text[place[0] : place[1]].strip() for place in _outside(text, separator) if place]


def _outside(text: str, separator: re.Pattern[str]) -> Iterator[tuple[int, int] | None]:
    """Yield start and end of every separator outside brackets; None last where they do not match.

    Round and square brackets may close each other, as intervals do.
    """
    depth = position = 0
    while position < len(text):
        found = separator.match(text, position) if depth == 0 else None
        if found:
            yield found.span()
            position = found.end()
            continue
        character = text[position]
        if character == "\\" and text[position + 1 : position + 2] not in ("{", "}"):
            position += 1
            while position < len(text) and text[position].isalpha():
                position += 1
            continue
        depth += (character in "([{") - (character in ")]}")
        if depth < 0:
            break
        position += 1
    if depth != 0:
        yield None
