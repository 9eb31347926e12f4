"""A stage's result: a frozen JSON file in its folder, without timestamps or absolute paths."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from components.core.errors import StageError
from components.core.storage import digest_file, read_json, write_json


class Record(BaseModel):
    """A frozen group of figures."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Result(Record):
    """A stage's result; `FILE` is its name in the stage's folder."""

    FILE: ClassVar[str]
    _folder: Path | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path:
        """The folder this result was saved in or loaded from."""
        if self._folder is None:
            raise StageError(f"this {type(self).__name__} was never saved")
        return self._folder

    def save(self, folder: Path) -> Self:
        """Write the result into `folder` and return it, bound to that folder."""
        write_json(folder / self.FILE, self.model_dump(mode="json"))
        self._folder = folder
        return self

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the result in `folder`; raises `StageError` naming what is wrong with the file."""
        path = folder / cls.FILE
        try:
            result = cls.model_validate(read_json(path))
        except ValidationError as error:
            raise StageError(f"{path} is not a {cls.__name__}: {error}") from error
        result._folder = folder
        return result

    @classmethod
    def digest_of(cls, folder: Path) -> str:
        """Return the SHA-256 of the result's file in `folder`."""
        path = folder / cls.FILE
        if not path.is_file():
            raise StageError(f"{path} is missing; run the stage that writes it")
        return digest_file(path)
