"""The version that an alias names, and the next one where the alias moves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import ModelError, RegistryError
from components.core.untrusted_text import for_terminal
from flows.cli.terminal import console

if TYPE_CHECKING:
    from components.registry.answering import Usable
    from components.registry.mlflow_registry import Registry


class Followed:
    """A version that was brought and verified, under the alias that named it."""

    def __init__(self, registry: Registry, name: str, alias: str, folder: Path) -> None:
        """Bring it below `folder`. Raises as `bring_version` does."""
        self._registry, self._folder = registry, folder
        self.name, self._alias = name, alias
        self._refused = ""  # the number of the version that could not be used, said once
        self.version = self._bring()

    def _bring(self) -> Usable:
        from components.registry.answering import bring_version

        folder = self._folder / str(sum(1 for _ in self._folder.iterdir()))
        return bring_version(self._registry, self.name, self._alias, folder)

    def moved(self) -> bool:
        """Return whether the alias names another version now, which has been brought.

        A registry that does not answer, and a version that cannot be used, are said, and what is
        there stays. Raises `RegistryError` where the alias is gone: what people took out of use is
        not used any more.
        """
        from components.registry.history import number_of

        try:
            model = self._registry.model(self.name)
        except RegistryError as error:
            console.print(for_terminal(str(error)), style="yellow", highlight=False)
            return False
        number = number_of(model, self._alias)
        if number in (self.version.number, self._refused):
            return False
        try:
            self.version = self._bring()
        except (RegistryError, ModelError) as error:
            self._refused = number
            stays = f"version {self.version.number} stays"
            console.print(for_terminal(f"{error}; {stays}"), style="red", highlight=False)
            return False
        return True
