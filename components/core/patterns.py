"""Regular expressions in YAML files, put together from named parts.

A file has three mappings. `words` are alternatives; blanks and line ends around their bars count
for nothing. `parts` are pieces of patterns. `forms` are patterns; several in a list are
alternatives. Line ends in parts and forms count for nothing. `<NAME>` stands for the words, the
part or the form of that name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from components.core.documents import read_yaml

_NAME = re.compile(r"<([A-Z][A-Z_]+)>")


def any_of(written: str) -> str:
    """Return one group for alternatives that are written over several lines."""
    alternatives = re.sub(r"\s*\|\s*", "|", re.sub(r"\n\s*", " ", written).strip())
    return f"(?:{alternatives})"


def read_patterns(path: Path, flags: int = 0) -> dict[str, re.Pattern[str]]:
    """Return the forms of a file by name. Raises `KeyError` for a name that is not there."""
    table = read_yaml(path)
    words = {name: any_of(written) for name, written in table.get("words", {}).items()}
    forms = {name: _alternatives(form) for name, form in table["forms"].items()}
    parts = {**words, **table.get("parts", {}), **forms}
    return {name: re.compile(_whole(form, parts), flags) for name, form in forms.items()}


def _alternatives(form: str | list[str]) -> str:
    return form if isinstance(form, str) else "|".join(f"(?:{pattern})" for pattern in form)


def _whole(pattern: str, parts: Mapping[str, str]) -> str:
    """Return a pattern with the parts that it names, and those that they name, in their place."""
    while _NAME.search(pattern := pattern.replace("\n", "")):
        pattern = _NAME.sub(lambda found: parts[found[1]], pattern)
    return pattern
