"""How rows share forward passes: what padding takes, and where a pass is better cut."""

from __future__ import annotations

from collections.abc import Sequence

from components.train.batches import Plan

Item = tuple[int, tuple[int, ...]]  # the number of a step, and a row of each group


def padded_tokens(plan: Plan, items: Sequence[tuple[int, ...]]) -> int:
    """Return the tokens of a forward pass of each group's rows, padding included."""
    return len(items) * sum(
        max(len(group.rows[item[k]].inputs) for item in items)
        for k, group in enumerate(plan.groups.values())
    )


def widest_pass(plan: Plan, rows: int) -> int:
    """Return the tokens of the largest forward pass of `rows` items, padding included."""
    return max(
        padded_tokens(plan, step[i : i + rows])
        for step in plan.steps
        for i in range(0, len(step), rows)
    )


def cut(plan: Plan, items: Sequence[Item], least: float) -> list[list[Item]]:
    """Return the items of a step, the longest first, in parts: a new one begins wherever that saves
    `least` tokens of padding."""

    def tokens(own: Sequence[Item]) -> int:
        return padded_tokens(plan, [rows for _, rows in own])

    rest = sorted(items, key=lambda item: -tokens([item]))
    parts: list[list[Item]] = [[rest.pop(0)]]
    while rest:
        last = parts[-1]
        if tokens([*last, *rest]) - tokens(last) - tokens(rest) >= least:
            parts.append([])
        parts[-1].append(rest.pop(0))
    return parts
