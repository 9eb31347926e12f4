"""What studies of the finished chain found, as the page shows it: tables of words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class StudyTable(NamedTuple):
    """A table of cells that are written out, and notes below it, a paragraph each."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """Return it in Markdown with its notes below it."""
        first, *others = ("| " + " | ".join(cells) + " |" for cells in (self.heads, *self.rows))
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
