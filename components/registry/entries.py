"""What the registry holds, in the form in which it is handed on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Model:
    """A registered model: where its aliases point, and its tags."""

    name: str
    aliases: dict[str, str]
    tags: dict[str, str]


@dataclass(frozen=True, slots=True)
class Version:
    """A registered version and the logged model it was made from."""

    name: str
    number: str
    tags: dict[str, str]
    logged_model: str


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """A finished logged model and the run it belongs to."""

    id: str
    run: str


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures with the data set they were measured on."""

    figures: dict[str, float]
    data: str  # the data set's name
    digest: str
    source: str


@dataclass(frozen=True, slots=True)
class Run:
    """A run of an experiment; an open one was not ended."""

    id: str
    tags: dict[str, str]
    open: bool
