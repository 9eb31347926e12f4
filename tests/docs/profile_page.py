"""docs/profiles.md from the profile's own types: `python -m tests.docs.profile_page` writes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from components.core.section import Section
from components.profile import Profile
from tests.root import ROOT

PAGE = ROOT / "docs" / "profiles.md"

HEAD = """\
# Profiles

A profile is a file `profiles/<name>.yaml`: one model pair and how it is kept safe. It has one
section a stage. Every key is listed here with its type, bounds and default; a key that is not
listed is an error, and so is a value outside its bounds. A change of a section makes the results of
its stage, and of those that follow, stale. Only another value is a change: a default that is
written out, another order of keys or a comment is none.

`extends: NAME` takes the keys of the profile `NAME` and adds to them; `extends: bases/NAME` takes
those of `profiles/bases/NAME.yaml`, which is no profile of its own. What is extended may extend
another file. Mappings are merged key by key, and lists whose entries have a `name`, such as
`prepare.sources`, entry by entry. Any other list or value replaces the one that it extends, and so
does a mapping of another `kind`. DVC watches the merged settings: a change in a base makes exactly
the stages stale whose settings change by it.

What lies outside the profile is named where DVC sees it: the folder of the checkpoints in
`params.yaml`, which lists the profiles that DVC and the schedule look after, and each file of
prompts in `dvc.yaml`, at the profile's stage `prepare-NAME`. `safereact init` and `add` write both,
and `safereact run` writes the second anew where a listed profile names other files; commit it with
the profile. Where things run is said by the environment ([commands](commands.md)), never by a
profile.

`required` stands where there is no default, `sources[]` for an entry of the list `sources` and
`suites.NAME` for one of the mapping `suites`.

<!-- Written by `python -m tests.docs.profile_page` from the stages' settings.py; do not edit. -->
"""
# A word instead of a default, where nothing stands in for it.
REQUIRED = object()


def profile_page() -> str:
    """Return the page: the profile's own keys, then a table a section."""
    fields = {name: field for name, field in Profile.model_fields.items() if not field.exclude}
    leaves = [name for name, field in fields.items() if not sections_of(field)]
    parts = [HEAD, _heading("The profile itself", _doc(Profile))]
    parts.append(_table(row for row in _rows(Profile) if row[0] in leaves))
    for name in [name for name in fields if name not in leaves]:
        sections = sections_of(fields[name])
        if len(sections) == 1:
            parts += [_heading(f"`{name}`", _doc(sections[0])), _table(_rows(sections[0]))]
            continue
        parts.append(_heading(f"`{name}`", "One of these kinds, told apart by `kind`."))
        for kind in sections:
            tag = kind.model_fields["kind"].default
            parts += [_heading(f"`kind: {tag}`", _doc(kind), level=3), _table(_rows(kind))]
    return "\n".join(parts)


def sections_of(field: FieldInfo) -> list[type[Section]]:
    """Return the sections that a field may hold, itself, as an option or in a list."""
    found = [field.annotation, *get_args(field.annotation)]
    return [t for t in found if isinstance(t, type) and issubclass(t, Section)]


def _rows(
    section: type[BaseModel], *, prefix: str = "", defaults: BaseModel | None = None
) -> Iterator[tuple[str, str, str, str]]:
    """Yield key, type, default and description of every field, those of nested sections after it.

    `defaults` is the nested section's own default, whose values stand in for its fields'.
    """
    schema = section.model_json_schema()
    for name, field in section.model_fields.items():
        if field.exclude:
            continue
        default = getattr(defaults, name) if defaults else _default(field)
        sections, key = sections_of(field), prefix + name
        nested = sections[0] if len(sections) == 1 else None
        if nested is None or nested is not field.annotation:
            words = _type(schema["properties"][name], schema.get("$defs", {}))
            text = (field.description or "").replace("None:", "null:")
            yield key, words, _shown(default), text
        if nested is not None:
            many = {tuple: "[]", dict: ".NAME"}.get(get_origin(field.annotation), "")
            inner = default if isinstance(default, nested) else None
            yield from _rows(nested, prefix=f"{key}{many}.", defaults=inner)


def _default(field: FieldInfo) -> Any:
    return REQUIRED if field.is_required() else field.get_default(call_default_factory=True)


def _shown(default: Any) -> str:
    if default is REQUIRED:
        return "required"
    if isinstance(default, tuple):
        default = list(default)
    if isinstance(default, Section):
        default = default.model_dump(mode="json")
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def _doc(section: type[BaseModel]) -> str:
    return " ".join((section.__doc__ or "").split("\n\n")[0].split())


def _type(schema: dict[str, Any], known: dict[str, Any]) -> str:
    """Return a field's type and bounds in words, from its JSON schema."""
    if "$ref" in schema:
        target = known[schema["$ref"].rpartition("/")[2]]
        return _type(target, known) if "enum" in target else "section"
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(_type(option, known) for option in options))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type")
    if kind == "array":
        fewest = ", at least one" if schema.get("minItems") else ""
        return f"list of {_type(schema['items'], known)}{fewest}"
    if kind == "object":
        # Keys that must match a pattern have their values' type under that pattern.
        ((pattern, values),) = schema.get("patternProperties", {"": None}).items()
        keys = _type(schema.get("propertyNames", {"type": "string"}), known)
        if pattern:
            keys += f" matching `{pattern}`"
        return f"mapping of {keys} to {_type(values or schema['additionalProperties'], known)}"
    names = {"integer": "whole number", "boolean": "`true` or `false`", "string": "text"}
    words = [names.get(str(kind), str(kind))]
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    words += [f"{sign} {schema[key]}" for key, sign in signs.items() if key in schema]
    if "pattern" in schema:
        words.append(f"matching `{schema['pattern']}`")
    return ", ".join([*words, "not empty"] if schema.get("minLength") else words)


def _heading(title: str, text: str, *, level: int = 2) -> str:
    return f"{'#' * level} {title}\n\n{text}\n"


def _table(rows: Iterator[tuple[str, str, str, str]]) -> str:
    lines = ["| Key | Type | Default | Meaning |", "|---|---|---|---|"]
    for key, words, default, text in rows:
        cells = (f"`{key}`", words, default, text)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(profile_page(), encoding="utf-8")
