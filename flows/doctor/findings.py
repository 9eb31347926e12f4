"""What the doctor finds: a line each, with its remedy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from rich.table import Table
from rich.text import Text


class State(StrEnum):
    """How it stands with one thing that a run needs."""

    OK = "ok"
    WARNING = "warning"  # a run is possible, and this may hurt it
    MISSING = "missing"  # no run is possible


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's table."""

    state: State
    subject: str
    message: str
    remedy: str = ""


ok, warning, missing = (partial(Finding, state) for state in State)
_STYLES = {State.OK: "green", State.WARNING: "yellow", State.MISSING: "bold red"}


def refused(
    subject: str, error: Exception | str, remedy: str = "", *, default: str = "mend the file"
) -> Finding:
    """Return what a stage has against it, in the words of its error, which brings its own remedy
    behind a semicolon; `remedy` comes before that, `default` takes its place."""
    what, _, own = str(error).partition("; ")
    return missing(subject, what, remedy or own or default)


def findings_table(findings: Iterable[Finding]) -> Table:
    """Return the findings as one table."""
    table = Table("check", "", "found", "remedy")
    for each in findings:
        mark = Text(each.state, _STYLES[each.state])
        table.add_row(each.subject, mark, Text(each.message), Text(each.remedy))
    return table
