"""The canonical table of prompts: its order, its digest, its counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from components.core.vocabulary import Prompt, Role, Split
from components.prepare.sources import Candidate


def table_of(rows: Sequence[Candidate]) -> list[Prompt]:
    """Return the placed rows as prompts, sorted by split, role and id."""
    names = [field.name for field in fields(Prompt)]
    prompts = []
    for row in rows:
        values = {name: getattr(row, name) for name in names}
        prompts.append(Prompt(**{**values, "role": Role(row.role), "split": Split(row.split)}))
    return sorted(prompts, key=lambda prompt: (prompt.split, prompt.role, prompt.id))
