"""What decides the rulings of a judge, as far as it can be told without loading it."""

from __future__ import annotations

import json
from pathlib import Path

from components.config import Evaluate
from components.fingerprints import digest_code
from components.storage import digest_bytes

_HERE = Path(__file__).parent
_CODE = (
    _HERE / "evaluation" / "judges",
    _HERE / "lm" / "reading",
    _HERE / "lm" / "outcomes.py",
    _HERE / "typography.py",
)


def digest_of_judge(section: Evaluate, name: str) -> str | None:
    """Return the SHA-256 of a judge's settings, of the rules, which tell refusals where a guard
    does not, and of the code that asks, quotes and reads; None for `rules` and for a name that no
    judge has."""
    if (judge := section.judges.get(name)) is None:
        return None
    parts = [judge.deciding(), section.rules.deciding(), digest_code(*_CODE)]
    return digest_bytes(json.dumps(parts, sort_keys=True).encode())
