"""`safereact diff`: two logs of another harness, compared, as a table and as a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.table import Table

from components.core.untrusted_text import clip, for_terminal
from components.studies.diff.differences import LogDiff, MetricDiff, Side

_LONGEST = 40  # characters of a task's or metric's name in the table
_MOST_NOTES = 20


def differences_table(found: LogDiff) -> Table:
    """Return a line for every metric of every task."""
    table = Table("task", "metric", title=f"A − B, {100 * found.confidence:g} % intervals")
    for head in ("A", "B", "A − B"):
        table.add_column(head)
    for head in ("more in A / B", "n", "p (Holm)"):
        table.add_column(head, justify="right")
    for line in found.lines:
        p_value = "" if line.p_holm is None else _p_value(line.p_holm)
        moved = f"{line.gained} / {line.lost}"
        names = (clip(for_terminal(name), _LONGEST) for name in (line.task, line.metric))
        sides = (_side(side, line) for side in (line.a, line.b))
        table.add_row(*names, *sides, _difference(line), moved, _size(line), p_value)
    return table


def _side(side: Side, line: MetricDiff) -> str:
    if line.is_share:
        return f"{100 * side.value:.1f} % [{100 * side.low:.1f}, {100 * side.high:.1f}]"
    return f"{side.value:.4g} [{side.low:.4g}, {side.high:.4g}]"


def _difference(line: MetricDiff) -> str:
    if line.is_share:
        points, low, high = (100 * end for end in (line.difference, line.low, line.high))
        return f"{points:+.1f} [{low:+.1f}, {high:+.1f}] points"
    return f"{line.difference:+.4g} [{line.low:+.4g}, {line.high:+.4g}]"


def _size(line: MetricDiff) -> str:
    """Return the number of prompts, and of samples where prompts have several."""
    if line.a.samples == line.b.samples == line.n:
        return str(line.n)
    return f"{line.n} ({line.a.samples}, {line.b.samples} samples)"


def _p_value(value: float) -> str:
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"


def notes_of(found: LogDiff) -> Iterator[str]:
    """Yield, a line each, what the logs are, what was left out of them, and what to look at."""
    for name, source in (("A", found.a), ("B", found.b)):
        size = sum(source.prompts.values())
        sizes = f"tasks: {len(source.prompts)}, prompts: {size}"
        yield f"{name}: {for_terminal(source.path)} ({source.harness}; {sizes})"
        yield from _few([*_left_out(source.left_out), *source.notes], f"{name}: ")
    yield from _few([*_left_out(found.left_out), *found.notes])


def _left_out(counts: Mapping[str, int]) -> list[str]:
    return [f"left out: {count} {what}" for what, count in counts.items()]


def _few(notes: list[str], before: str = "") -> Iterator[str]:
    for note in notes[:_MOST_NOTES]:
        yield before + for_terminal(note)
    if len(notes) > _MOST_NOTES:
        yield f"{before}{len(notes) - _MOST_NOTES} more such lines; --json has them all"
