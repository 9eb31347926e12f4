"""Two accounts of the same thing, compared figure by figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from pydantic import BaseModel

# Processors differ in the last bits of a sum of floating-point numbers, and nobody reads those.
_ROUNDING = 1e-12
_ABSENT = object()


def mismatches(stated: Any, found: Any, name: str = "") -> Iterator[str]:
    """Yield in words every place where what is `stated` is not what was `found`.

    Both are made of records, mappings, sequences and single values; `name` is what the whole is
    called. A place that only one of them has is a mismatch. Numbers are the same where they differ
    by rounding alone.
    """
    return _differ(_plain(stated), _plain(found), name)


def _differ(stated: Any, found: Any, name: str) -> Iterator[str]:
    if isinstance(stated, dict) and isinstance(found, dict):
        for key in dict.fromkeys([*stated, *found]):
            place = f"{name} {key}".strip()
            yield from _differ(stated.get(key, _ABSENT), found.get(key, _ABSENT), place)
    elif not _same(stated, found):
        yield f"{name} is stated as {_shown(stated)}, and it is {_shown(found)}"


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    return {place: _plain(one) for place, one in enumerate(value, 1)}


def _same(stated: Any, found: Any) -> bool:
    if isinstance(stated, float) and isinstance(found, float):
        return math.isclose(stated, found, rel_tol=_ROUNDING, abs_tol=_ROUNDING)
    return bool(stated == found) and isinstance(stated, bool) is isinstance(found, bool)


def _shown(value: Any) -> str:
    return "nothing" if value is _ABSENT else f"{value!r:.200}"
