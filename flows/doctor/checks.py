"""What the doctor found: a line each, with its remedy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

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

    subject: str
    state: State
    message: str
    remedy: str = ""


def ok(subject: str, message: str) -> Finding:
    """Return that nothing is wrong."""
    return Finding(subject, State.OK, message)


def missing(subject: str, message: str, remedy: str) -> Finding:
    """Return that no run is possible."""
    return Finding(subject, State.MISSING, message, remedy)


def refused(
    subject: str, error: Exception | str, remedy: str = "", *, default: str = "mend the file"
) -> Finding:
    """Return what a stage has against it, in the words of its error, which brings its own remedy
    behind a semicolon; `remedy` comes before that, `default` takes its place."""
    what, _, own = str(error).partition("; ")
    return Finding(subject, State.MISSING, what, remedy or own or default)


def warning(subject: str, message: str, remedy: str = "") -> Finding:
    """Return that a run is possible, and that this may hurt it."""
    return Finding(subject, State.WARNING, message, remedy)


def findings_table(findings: Iterable[Finding]) -> Table:
    """Return the findings as one table."""
    styles = {State.OK: "green", State.WARNING: "yellow", State.MISSING: "bold red"}
    table = Table("check", "", "found", "remedy")
    for each in findings:
        mark = Text(each.state, styles[each.state])
        table.add_row(each.subject, mark, Text(each.message), Text(each.remedy))
    return table
