"""What studies of the finished chain found, as the page shows it: tables of words."""

from __future__ import annotations

from collections.abc import Sequence
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


class StudyTable(NamedTuple):
    """A table of cells that are written out, and notes below it, a paragraph each.

    The first `keys` columns name a row; they are repeated where the others take several sheets.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str | RateCell]]
    notes: Sequence[str] = ()
    keys: int = 1

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
