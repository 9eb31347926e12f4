"""What decides the verdicts of a judge, as far as it can be told without loading it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from components.core import typography
from components.core.fingerprints import digest_code
from components.core.storage import digest_bytes
from components.judges.settings import JudgeSettings, RulesSettings

_CODE = (Path(__file__).parent, Path(typography.__file__))


def digest_of_judge(
    judges: Mapping[str, JudgeSettings], rules: RulesSettings, name: str
) -> str | None:
    """Return the SHA-256 of a judge's settings, of the rules, which tell refusals where a guard
    does not, and of the code that asks, quotes and reads; None for `rules` and for a name that no
    judge has."""
    if (judge := judges.get(name)) is None:
        return None
    parts = [judge.deciding(), rules.deciding(), digest_code(*_CODE)]
    return digest_bytes(json.dumps(parts, sort_keys=True).encode())
