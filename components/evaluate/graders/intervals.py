"""Unions of intervals as the fewest that are the same set: touching ones are one."""

from __future__ import annotations

from fractions import Fraction

from components.evaluate.graders.values import INTERVALS, Expression, Group, Number, Value

_INFINITY = float("inf")


def merged(value: Value) -> Value:
    """Return a union of intervals with overlapping and touching ones merged; any other value, and
    a union with bounds that are no numbers, as it is."""
    if not isinstance(value, Group) or value.kind != "union":
        return value
    spans = []
    for item in value.items:
        if not isinstance(item, Group) or item.kind not in INTERVALS:
            return value
        ends = [_bound(end) for end in item.items]
        if ends[0] is None or ends[1] is None or ends[0] > ends[1]:
            return value
        spans.append((ends[0], item.kind[0] == "(", ends[1], item.kind[1] == "]", item))
    spans.sort(key=lambda span: span[:4])
    kept = [spans[0]]
    for span in spans[1:]:
        before = kept[-1]
        if span[0] > before[2] or (span[0] == before[2] and span[1] and not before[3]):
            kept.append(span)
        elif span[2:4] > before[2:4]:
            kind = before[4].kind[0] + span[4].kind[1]
            joined = Group(kind, (before[4].items[0], span[4].items[1]))
            kept[-1] = (*before[:2], *span[2:4], joined)
    return kept[0][4] if len(kept) == 1 else Group("union", tuple(span[4] for span in kept))


def _bound(value: Value) -> Fraction | float | None:
    if isinstance(value, Number):
        return value.value
    if isinstance(value, Expression) and value.latex.strip().lstrip("+-") in ("\\infty",):
        return -_INFINITY if value.latex.strip().startswith("-") else _INFINITY
    return None
