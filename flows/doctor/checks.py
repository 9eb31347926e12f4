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
    told: str
    remedy: str = ""


def findings_table(findings: Iterable[Finding]) -> Table:
    """Return the findings as one table."""
    styles = {State.OK: "green", State.WARNING: "yellow", State.MISSING: "bold red"}
    table = Table("check", "", "found", "remedy")
    for finding in findings:
        mark = Text(finding.state, styles[finding.state])
        words = (Text(word) for word in (finding.told, finding.remedy))  # names are no markup
        table.add_row(finding.subject, mark, *words)
    return table
