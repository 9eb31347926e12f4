"""Changes as earlier releases wrote them."""

from __future__ import annotations

import json
from dataclasses import asdict

from components.registry.changes import Change

LATER = ("adapter", "despite", "follows", "user", "number")


def encode_old(change: Change) -> str:
    """Return a change as a tag of a release before changes stated what they follow."""
    return json.dumps({key: one for key, one in asdict(change).items() if key not in LATER})
