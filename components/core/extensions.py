"""Parts that others may add: judges, teachers, graders, methods, attacks and edits, by name.

Ours register when their module is imported. Those of another installed package are found by its
entry points, in the group `safereact.<kind>`, and are loaded when their name is asked for. Their
code counts to the fingerprint of every stage that uses parts of this kind (fingerprints.py):

    [project.entry-points."safereact.graders"]
    units = "my_package.graders"
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from components.core.errors import ConfigError

T = TypeVar("T")


class Extensions(Generic[T]):
    """All parts of one kind, such as `graders`, under their names."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers a function or class under `name`."""

        def add(part: T) -> T:
            if self._parts.setdefault(name, part) is not part:
                raise ConfigError(f"two {self.kind} are called {name!r}; rename one of them")
            return part

        return add

    def find(self, name: str) -> T:
        """Return the part called `name`; raises `ConfigError` with the names that there are."""
        if name not in self._parts and (point := added_parts(self.kind).get(name)):
            point.load()
        if name not in self._parts:
            known = ", ".join(self.names())
            raise ConfigError(f"there is no {name!r} among the {self.kind}; there are: {known}")
        return self._parts[name]

    def names(self) -> tuple[str, ...]:
        """Return every name, our own first, without loading other packages."""
        return tuple(dict.fromkeys([*self._parts, *sorted(added_parts(self.kind))]))


def added_parts(kind: str) -> dict[str, EntryPoint]:
    """Return the parts of one kind that other installed packages add, by name, none loaded."""
    return _found(kind, (*sys.path,))


@lru_cache
def _found(kind: str, path: tuple[str, ...]) -> dict[str, EntryPoint]:  # noqa: ARG001
    """Return the entry points of a kind; `path` is where packages lie when they are looked for."""
    return {point.name: point for point in entry_points(group=f"safereact.{kind}")}


def check_name(kind: str, name: str, ours: Sequence[str]) -> str:
    """Return `name`, that of a part of `ours` or of one that another package adds, none loaded.

    Raises `ValueError` with the names there are; settings check their keys by it.
    """
    known = [*ours, *sorted(added_parts(kind))]
    if name not in known:
        raise ValueError(f"there is no {name!r} among the {kind}; there are: {', '.join(known)}")
    return name
