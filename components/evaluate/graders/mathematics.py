"""Mathematics: whether what an answer states, or ends on, is the reference answer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING

from components.evaluate.graders.expressions import equal
from components.evaluate.graders.grade import GRADERS, Grade
from components.evaluate.graders.numbers import (
    NOT_WORKED_OUT,
    InBase,
    changes_number,
    different_units,
    exact,
    fraction,
    is_quotient,
)
from components.evaluate.graders.numbers import PATTERNS as _P
from components.evaluate.graders.relations import assigned, interval, subject
from components.evaluate.graders.results import (
    Text,
    first_part,
    last_mathematics,
    last_run,
    left_open,
    undenied,
)
from components.evaluate.graders.spelling import fold, tidy
from components.evaluate.graders.values import (
    INTERVALS,
    UNORDERED,
    Expression,
    Group,
    Number,
    Relation,
    Value,
    Words,
    number_of,
    read,
)

if TYPE_CHECKING:
    from sympy import Expr, Set

_WHOLE = 300  # characters: a longer text is no result as a whole
_EXPONENT = re.compile(r"\^\s*\{[^{}]*\}")
_BARE_LETTERS = re.compile(r"[^\W\d_]{3,}")
_DECIMAL_COMMA = re.compile(r"(?<![\d,.])(\d+),(\d+)(?![\d,.])")


@GRADERS.register("mathematics")
def mathematics(answer: str, reference: str) -> Grade:
    """Return whether an answer's result is the reference.

    Strictly, the whole of what it states is, units aside. Flexibly, the last box is, or without a
    box the last formula or number.
    """
    text = Text.of(answer)
    strict = _states(text, reference)
    return Grade(flexible=strict or _ends_on(text, reference), strict=strict)


def _states(text: Text, reference: str) -> bool:
    stated = text.stated(bool)
    if not stated or matches(" , ".join(stated), reference):
        return bool(stated)
    phrase = len(stated) == 1 and stated[0] not in text.last_boxes
    return phrase and _begins_with(undenied(stated[0]), reference)


def _ends_on(text: Text, reference: str) -> bool:
    if text.boxes:
        if matches(" , ".join(text.last_boxes), reference):
            return True
        several = isinstance(read(reference), Group) and len(text.boxes) > len(text.last_boxes)
        every = " , ".join(dict.fromkeys(box.content for box in text.boxes))
        return several and matches(every, reference)
    affirmed = undenied(text.text)
    if len(affirmed.strip()) <= _WHOLE and matches(affirmed, reference):
        return True
    formula = last_mathematics(affirmed)
    number, end = last_run(affirmed)
    open_ones = left_open(affirmed, end, listed=isinstance(read(reference), Group))
    if formula and (end <= formula[1] or not isinstance(read(reference), Number)):
        around = end <= formula[1] and open_ones not in formula[0]
        return matches(open_ones if around else formula[0], reference)
    if matches(open_ones or number, reference):
        return True
    exclaimed = not open_ones and number.endswith("!") and _P["END"].match(affirmed, end + 1)
    return bool(exclaimed) and matches(number[:-1], reference)


def matches(stated: str, reference: str) -> bool:
    """Return whether the content of `stated` is the reference answer."""
    if not stated.strip():
        return False
    wanted, found, written = read(reference), read(stated), tidy(stated)
    about = _P["APPROXIMATE"].search(written) is not None
    if (about and _is_whole(wanted)) or {_money(stated), _money(reference)} == {1, 100}:
        return False
    if written != tidy(reference) and is_quotient(written) and _is_whole(wanted):
        return False  # it was not divided
    if wanted is None or found is None:
        return fold(stated).split() == fold(reference).split()
    if isinstance(wanted, Number) and isinstance(found, Group):
        comma = _DECIMAL_COMMA.sub(r"\1.\2", fold(stated))
        pointed = number_of(tidy(comma)) if comma != fold(stated) else None
        if pointed is not None:
            return _same(pointed, wanted)
    return _same(found, wanted)


def _is_whole(wanted: Value | None) -> bool:
    return isinstance(wanted, Number) and (wanted.value * wanted.factor).denominator == 1


def _money(text: str) -> int:
    """Return 100 for dollars, 1 for cents, 0 for what says neither."""
    return 100 if _P["DOLLARS"].search(text) else int(bool(_P["CENTS"].search(text)))


def _begins_with(stated: str, reference: str) -> bool:
    """Return whether a statement is the reference and words without digits, as in `5 of them`."""
    first, rest, is_formula = first_part(stated)
    if not is_formula and exact(tidy(first).rstrip("%,:;")) is None:
        return False
    if any(character.isdigit() for character in rest) or changes_number(rest):
        return False
    return matches(first.rstrip(",:;"), reference)


def _same(found: Value, wanted: Value) -> bool:
    if isinstance(wanted, Relation) or isinstance(found, Relation):
        return _same_relation(found, wanted)
    if isinstance(wanted, Group) or isinstance(found, Group):
        return _same_group(found, wanted)
    if isinstance(wanted, InBase) or isinstance(found, InBase):
        return _same_digits(found, wanted)
    if isinstance(wanted, Number) and isinstance(found, Number):
        return _same_number(found, wanted)
    if isinstance(wanted, Words) or isinstance(found, Words):
        return _words_of(found) == _words_of(wanted)
    one, other = _latex(found), _latex(wanted)
    if one == other:
        return True
    if isinstance(wanted, Number) and NOT_WORKED_OUT.search(_EXPONENT.sub("^{}", one)):
        return False
    if all(map(_BARE_LETTERS.fullmatch, (one, other))):
        return False  # a word or an order: `BAC` is not `CAB`, as it would be as a product
    return equal(one, other)


def _same_number(found: Number, wanted: Number) -> bool:
    """Return whether two numbers are equal, and not of two units that are known to differ.

    Beside a percentage 50 and 0.5 are 50 %, and beside `4 million` so are 4 and 4,000,000: which of
    them was asked for, only the question tells.
    """
    if different_units(found.unit, wanted.unit):
        return False
    if found.value * found.factor == wanted.value * wanted.factor:
        return True
    return found.value == wanted.value and 1 in (found.factor, wanted.factor)


def _same_digits(found: Value, wanted: Value) -> bool:
    """Return whether two numbers of a base have the same digits and base; the answer may leave the
    base out. A number that is only rewritten in another base was not worked out."""
    if not isinstance(wanted, InBase):
        return isinstance(wanted, Number) and _in_ten(found) == wanted.value
    if wanted.base == 10 and isinstance(found, Number | InBase):
        return _in_ten(found) == _in_ten(wanted)
    if isinstance(found, Number):
        return str(found.value) == wanted.digits
    if isinstance(found, Expression):
        return found.latex.upper().replace(" ", "") == wanted.digits
    return found == wanted


def _in_ten(value: Value) -> Fraction | None:
    if isinstance(value, InBase):
        return Fraction(int(value.digits)) if value.base == 10 else None
    return value.value if isinstance(value, Number) else None


def _same_group(found: Value, wanted: Value) -> bool:
    if not isinstance(found, Group) or not isinstance(wanted, Group):
        group, other = (found, wanted) if isinstance(found, Group) else (wanted, found)
        assert isinstance(group, Group)
        return group.kind in ("set", "list") and all(_same(item, other) for item in group.items)
    if "union" in (found.kind, wanted.kind):
        simple, expected = _as_set(found), _as_set(wanted)
        if simple is not None and expected is not None:
            return bool(simple == expected)
    if found.kind in UNORDERED and wanted.kind in UNORDERED:
        if "union" in (found.kind, wanted.kind) and found.kind != wanted.kind:
            return False
        return _same_elements(found.items, wanted.items)
    bare = found.kind == "list" and wanted.kind in ("tuple", "()")
    if found.kind != wanted.kind and not bare:
        return False
    return len(found.items) == len(wanted.items) and all(map(_same, found.items, wanted.items))


def _same_elements(found: Iterable[Value], wanted: Iterable[Value]) -> bool:
    left = list(dict.fromkeys(wanted))
    for item in dict.fromkeys(found):
        place = next((i for i, other in enumerate(left) if _same(item, other)), None)
        if place is None:
            return False
        del left[place]
    return not left


def _same_relation(found: Value, wanted: Value) -> bool:
    if isinstance(found, Relation) and isinstance(wanted, Relation):
        return _same_equations(found, wanted)
    relation, other = (found, wanted) if isinstance(found, Relation) else (wanted, found)
    assert isinstance(relation, Relation)
    if isinstance(other, Group) and other.kind in (*INTERVALS, "union"):
        span = interval(relation)
        if span is not None:
            return _same(span, other)
    named = assigned(relation)
    if named is None or (relation is wanted and not named[0]):
        return False
    last = read(named[1])
    # Of `x = 10/2` nothing was divided, and `x \\approx 5` is no whole number.
    undone = is_quotient(named[1]) or set(relation.signs) == {"approx"}
    if last is None or isinstance(last, Relation) or (named[0] and undone and _is_whole(other)):
        return False
    return _same(last, other) if relation is found else _same(other, last)


def _same_equations(found: Relation, wanted: Relation) -> bool:
    """Return whether two relations say the same. What is solved for a name has to be solved: with
    `x = 5` as the reference, `2x = 10` is the problem."""
    if found == wanted:
        return True
    one, other = interval(found), interval(wanted)
    if one is not None or other is not None:
        named_alike = subject(found) == subject(wanted)
        return named_alike and one is not None and other is not None and _same(one, other)
    named, expected = assigned(found), assigned(wanted)
    if expected is not None and expected[0]:
        if named is not None and named[0].replace(" ", "") == expected[0].replace(" ", ""):
            left, right = read(named[1]), read(expected[1])
            return left is not None and right is not None and _same(left, right)
        if named is not None or isinstance(read(expected[1]), Number):
            return False
    if found.signs != wanted.signs or found.signs not in (("=",), ("ne",)):
        return False
    sides = [f"({r.sides[0]})-({r.sides[1]})" for r in (found, wanted)]
    return equal(*sides, proportional=True)


def _words_of(value: Value) -> str:
    if isinstance(value, Words):
        return value.text
    return value.latex.casefold() if isinstance(value, Expression) else ""


def _latex(value: Value) -> str:
    if isinstance(value, Number):
        return fraction(value.value * value.factor)
    assert isinstance(value, Expression)
    return value.latex.replace("%", "")


def _as_set(value: Value) -> Set | None:
    """Return an interval or a union of intervals as sympy's set, in which touching ones are one;
    None for anything else, and where a bound is no number."""
    from sympy import Interval, Union

    if isinstance(value, Group) and value.kind == "union":
        sets = [_as_set(item) for item in value.items]
        return None if None in sets else Union(*sets)
    if not isinstance(value, Group) or value.kind not in INTERVALS:
        return None
    lower, upper = map(_bound, value.items)
    if lower is None or upper is None or lower > upper:
        return None
    return Interval(lower, upper, value.kind[0] == "(", value.kind[1] == ")")


def _bound(value: Value) -> Expr | None:
    from sympy import Rational, oo

    if isinstance(value, Number):
        return Rational(value.value.numerator, value.value.denominator)
    if isinstance(value, Expression) and value.latex.strip().lstrip("+-") == "\\infty":
        return -oo if value.latex.strip().startswith("-") else oo
    return None
