"""YAML of people and of checkouts, bounded before anything is built from it.

Parsers recurse into what is nested and build what aliases repeat, so a file of some kilobytes can
exhaust the stack or the memory. Its events tell how deep and how large it is at no such cost.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.core.errors import ConfigError

LARGEST = 1 << 20  # characters
DEEPEST = 50  # levels of lists and mappings
MOST = 50_000  # values, those that aliases repeat included
ENDLESS = 1 << 16  # characters of a line, so that a writer breaks none


def parse_yaml(text: str) -> Any:
    """Return what the YAML document `text` holds.

    Raises `ConfigError` saying what is wrong, where it is no YAML, holds a value that Python cannot
    hold, half a character (a lone surrogate), or is beyond the bounds above.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if len(text) > LARGEST:
        raise ConfigError(f"it has {len(text)} characters; settings have at most {LARGEST}")
    yaml = YAML(typ="safe", pure=True)
    yaml.parser.get_event = _within_bounds(yaml.parser.get_event)
    try:
        return yaml.load(text)
    except YAMLError as error:
        raise ConfigError(f"it is not YAML: {error}") from error
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        # What ruamel's constructors raise for a number or a date that is none.
        raise ConfigError(f"it holds a value that cannot be read: {error}") from error


def _within_bounds(get_event: Callable[[], Any]) -> Callable[[], Any]:
    """Return `get_event`, which raises `ConfigError` where the document becomes deeper than
    `DEEPEST` or larger than `MOST`, or a text of it has no encoding: values are built only when the
    last event is there."""
    from ruamel.yaml.events import (
        AliasEvent,
        CollectionEndEvent,
        CollectionStartEvent,
        NodeEvent,
        ScalarEvent,
    )

    sizes = [0]  # values so far within each of the open collections
    anchors: list[str | None] = []
    known: dict[str, int] = {}  # values below an anchor

    def next_event() -> Any:
        event = get_event()
        if isinstance(event, CollectionStartEvent):
            sizes.append(1)
            anchors.append(event.anchor)
        elif isinstance(event, CollectionEndEvent):
            size, anchor = sizes.pop(), anchors.pop()
            if anchor:
                known[anchor] = size
            sizes[-1] += size
        elif isinstance(event, AliasEvent):
            if event.anchor in anchors:
                raise ConfigError(f"the alias *{event.anchor} stands within what it names")
            sizes[-1] += known.get(event.anchor, 1)
        elif isinstance(event, NodeEvent):
            sizes[-1] += 1
        if isinstance(event, ScalarEvent):
            _check_text(event.value)
        if len(sizes) > DEEPEST + 1:
            raise ConfigError(f"it is nested more than {DEEPEST} levels deep")
        if sizes[-1] > MOST:
            raise ConfigError(f"it holds more than {MOST} values, with what its aliases repeat")
        return event

    return next_event


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{text!a:.80} holds half a character, {text[error.start]!a}") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; raises `ConfigError` where there is none."""
    if path.exists() and not path.is_file():
        raise ConfigError(f"cannot read {path}: it is not a file")
    try:
        document = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path} cannot be used: {error}") from error
    if not isinstance(document, dict):
        found = received(document)
        raise ConfigError(f"{path} must hold a mapping of keys to values, not {found}")
    return document


def received(value: Any) -> str:
    try:
        return f"{value!r:.80}"
    except ValueError:  # a number of more digits than Python writes
        return f"a {type(value).__name__} too long to show"
