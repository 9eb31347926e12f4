"""What the stage `report` hands on."""

from __future__ import annotations

from typing import ClassVar

from components.core.result import Result


class Report(Result):
    """The report's file and what it is about."""

    FILE: ClassVar[str] = "report.json"

    digest: str  # SHA-256 of report.html
    adapter: str
    accepted: bool
