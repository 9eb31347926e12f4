"""What a registered version says of artefacts that were made from it and checked against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.core.errors import EvidenceError
from components.registry.delivery import find_version

if TYPE_CHECKING:
    from components.registry.mlflow_registry import Registry

PREFIX = "check."


def record_check(
    registry: Registry, name: str, alias: str, *, adapter: str, artefact: str, words: str
) -> str:
    """Tag the version of `name` that carries `alias`, or has that number, with what a check found
    of an artefact, and return its number.

    `artefact` is the digest of its files. Raises `RegistryError` for a version that is not there,
    and `EvidenceError` where the check was of another adapter than the version's.
    """
    version = find_version(registry, name, alias)
    if version.adapter != adapter:
        raise EvidenceError(
            f"{version} holds the adapter {version.adapter:.12}, and {adapter:.12} was checked; "
            "name the version of the adapter that is in the workspace"
        )
    registry.set_version_tag(version, f"{PREFIX}{artefact}", words)
    return version.number
