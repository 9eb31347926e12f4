"""What relations say: `x = 5` is 5, `1 < x` is an interval, `x \\ne 0` is two of them."""

from __future__ import annotations

import re

from components.evaluate.graders.numbers import PATTERNS as _P
from components.evaluate.graders.numbers import exact
from components.evaluate.graders.values import DEEPEST, Group, Relation, group


def assigned(relation: Relation) -> tuple[str, str] | None:
    """Return the name and the last side of `x = 5`, or of `12 + 25 = 37`; None for an equation.

    The name is empty where the first side has no variable. Of `x = 1/3 \\approx 0.33` the side
    before the approximation counts.
    """
    if set(relation.signs) - {"=", "approx"}:
        return None
    first, *others = relation.sides
    exact_ones = [side for sign, side in zip(relation.signs, others, strict=True) if sign == "="]
    last = exact_ones[-1] if exact_ones else others[-1]
    if relation.signs == ("=",) and _is_symbol(last) and exact(first) is not None:
        return last, first
    if _P["NAME"].fullmatch(first) or _P["ONLY_TEXT"].fullmatch(first):
        return first, last
    letters = set(re.findall(r"(?<![\\A-Za-z])[A-Za-z]", re.sub(r"\\text\{[^{}]*\}", "", first)))
    if not letters - {"e", "i"} or len(letters) > 1:
        if relation.signs[0] == "approx" and not exact_ones:
            last = first
        return "", last
    return None


def interval(relation: Relation) -> Group | None:
    """Return the interval of `a < x \\le b` or `x > a`, and the two of `x \\ne a`; None for
    another relation."""
    if relation.signs == ("ne",) and _is_symbol(relation.sides[0]):
        hole = relation.sides[1]
        return group("union", (f"(-\\infty, {hole})", f"({hole}, \\infty)"), DEEPEST)
    if set(relation.signs) <= {"<", "le"}:
        sides, signs = relation.sides, relation.signs
    elif set(relation.signs) <= {">", "ge"}:
        sides, signs = relation.sides[::-1], relation.signs[::-1]
    else:
        return None
    places = [i for i, side in enumerate(sides) if _is_symbol(side)]
    if len(places) != 1 or len(sides) > 3 or (len(sides) == 3 and places != [1]):
        return None
    (place,) = places
    lower = sides[place - 1] if place > 0 else "-\\infty"
    upper = sides[place + 1] if place + 1 < len(sides) else "\\infty"
    opening = "[" if place > 0 and signs[place - 1] in ("le", "ge") else "("
    closing = "]" if place < len(signs) and signs[place] in ("le", "ge") else ")"
    return group(opening + closing, [lower, upper], DEEPEST)


def subject(relation: Relation) -> str:
    """Return the symbol that an inequality bounds; an empty text where there is not just one."""
    found = [side for side in relation.sides if _is_symbol(side)]
    return found[0] if len(found) == 1 else ""


def _is_symbol(side: str) -> bool:
    return side not in ("\\infty", "\\pi", "e") and _P["SYMBOL"].fullmatch(side) is not None
