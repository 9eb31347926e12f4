"""Made-up rows of a source, as the stage maps them."""

from __future__ import annotations

from typing import Any

from components.prepare.settings import Source
from components.prepare.sources import Candidate, map_rows


def source_of(name: str = "s", **settings: Any) -> Source:
    """Return a local source of benign rows, unless `settings` say otherwise."""
    return Source(
        **{"name": name, "licence": "MIT", "path": "a.jsonl", "role": "benign"} | settings
    )


def rows_of(*rows: dict[str, Any] | str, name: str = "s", **settings: Any) -> list[Candidate]:
    """Return rows, or bare texts, as candidates numbered from 1."""
    cells = [{"text": row} if isinstance(row, str) else row for row in rows]
    return map_rows(list(enumerate(cells, start=1)), source_of(name, **settings))
