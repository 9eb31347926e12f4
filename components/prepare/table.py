"""The canonical table of prompts: its order, its digest, its counts."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
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


def digest_prompts(prompts: Sequence[Prompt]) -> str:
    """Return the SHA-256 over the prompts in their order, one canonical JSON object a line."""
    digest = hashlib.sha256()
    names = sorted(field.name for field in fields(Prompt))
    for prompt in prompts:
        row = {name: getattr(prompt, name) for name in names}
        line = json.dumps(row, separators=(",", ":"))
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def count_prompts(prompts: Sequence[Prompt]) -> dict[Split, dict[Role, int]]:
    """Return the number of prompts of every split and role."""
    found = Counter((prompt.split, prompt.role) for prompt in prompts)
    return {split: {role: found[split, role] for role in Role} for split in Split}
