"""The version that an alias names, and the next one where the alias moves."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import ModelError, RegistryError
from components.core.untrusted_text import for_terminal
from flows.cli.terminal import console

if TYPE_CHECKING:
    from components.registry.answering import Usable
    from components.registry.mlflow_registry import Model, Registry


class Followed:
    """A version that was brought and verified, under the alias that named it."""

    def __init__(self, registry: Registry, name: str, alias: str, folder: Path) -> None:
        """Bring it below `folder`. Raises as `bring_version` does."""
        self._registry, self._folder = registry, folder
        self.name, self._alias = name, alias
        self._told = ""  # why another version could not be used, said once
        self.version = self._bring()

    def _bring(self) -> Usable:
        from components.registry.answering import bring_version

        folder = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            return bring_version(self._registry, self.name, self._alias, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def moved(self) -> bool:
        """Return whether the alias names another version now, which has been brought.

        A registry that does not answer, and a version that cannot be used, are said, and what is
        there stays until the next look. Raises `RegistryError` where the alias is gone, and where
        what is there was withdrawn: what people took out of use is not used any more.
        """
        from components.registry.history import number_of

        try:
            model = self._registry.model(self.name)
        except RegistryError as error:
            console.print(for_terminal(str(error)), style="yellow")
            return False
        number = number_of(model, self._alias)
        if number == self.version.number:
            self._check_in_use(model)
            return False
        try:
            self.version = self._bring()
        except (RegistryError, ModelError) as error:
            self._check_in_use(model)
            self._say(error)
            return False
        return True

    def _check_in_use(self, model: Model) -> None:
        """Raise `RegistryError` where the version that is there was withdrawn; of a history that is
        not whole nobody can tell, and it is said."""
        from components.registry.changes import WITHDRAWN, chain_of, refusal_of

        try:
            changes = chain_of(model.tags).changes
        except RegistryError as error:
            self._say(error)
            return
        refusal = refusal_of(changes, self.version.number, self.version.evidence.adapter)
        if refusal and refusal.event == WITHDRAWN:
            raise RegistryError(f"{self.name} version {self.version.number} was {refusal}")

    def _say(self, error: Exception) -> None:
        """Say, once, why the version that is there stays."""
        told = for_terminal(f"{error}; version {self.version.number} stays")
        if told != self._told:
            console.print(told, style="red")
        self._told = told
