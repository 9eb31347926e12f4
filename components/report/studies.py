"""What studies of the finished chain found, as the page shows it: tables of words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class RateCell(NamedTuple):
    """A rate as the cell of a table: `str` has it in one line, a terminal on several."""

    share: str  # per cent
    interval: str
    size: str  # what n is
    more: tuple[str, ...] = ()  # what else is known, each as it goes on in the line

    def __str__(self) -> str:
        """Return it in one line."""
        return f"{self.share} {self.interval}, n={self.size}{''.join(self.more)}"

    def lines(self, *, sized: bool) -> list[str]:
        """Return it in lines, without n where it is `sized` by the head of its column."""
        size = [] if sized else [f"n={self.size}"]
        return [self.share, self.interval, *size, *(part.strip(" ,;()") for part in self.more)]


def common_size(cells: Iterable[str | RateCell]) -> str:
    """Return what n is in all rates of a column; empty where it differs, or there is no rate."""
    sizes = {cell.size for cell in cells if isinstance(cell, RateCell)}
    return sizes.pop() if len(sizes) == 1 else ""


class StudyTable(NamedTuple):
    """A table of cells that are written out, and notes below it, a paragraph each.

    The first `keys` columns name a row; they are repeated where the others take several sheets.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str | RateCell]]
    notes: Sequence[str] = ()
    keys: int = 1

    def sizes(self) -> list[str]:
        """Return the common size of each column."""
        return [common_size(column) for column in zip(*self.rows, strict=True)]

    def markdown(self) -> str:
        """Return it in Markdown with its notes below it."""
        lines = (self.heads, *self.rows)
        first, *others = ("| " + " | ".join(map(str, cells)) + " |" for cells in lines)
        below = (f"\n{note}" for note in self.notes)
        return "\n".join([first, "|---" * len(self.heads) + "|", *others, *below])


class Study(NamedTuple):
    """A study with its tables, or why there are none."""

    title: str
    command: str  # what runs it
    tables: tuple[StudyTable, ...] = ()
    missing: str | None = None


# What stands on the page of the chain, which is finished before any study begins.
COMPARED = Study("Other methods", "safereact compare", missing="not on this page")
WITHSTOOD = Study("What the safety withstands", "safereact withstand", missing="not on this page")
