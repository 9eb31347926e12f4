"""What a version says of the artefacts that were checked against its adapter."""

from __future__ import annotations

import pytest

from components.core.errors import EvidenceError, RegistryError
from components.registry.delivery import record_check
from components.registry.mlflow_registry import Registry
from tests.releases import NAMES

DIGEST, WORDS = "a" * 64, "non-inferior by 5 points (gguf served.gguf, 9 figures, n >= 100)"


def test_a_version_names_the_artefact_by_its_digest(registered):
    registry = Registry(registered.root)
    version = registry.version(NAMES["name"], "1")
    adapter = version.tags["adapter_digest"]
    found = record_check(
        registry, version.name, "candidate", adapter=adapter, artefact=DIGEST, words=WORDS
    )
    assert found == version.number
    assert registry.version(version.name, found).tags[f"check.{DIGEST}"] == WORDS


def test_a_check_of_another_adapter_is_not_recorded(registered):
    registry = Registry(registered.root)
    version = registry.version(NAMES["name"], "1")
    with pytest.raises(EvidenceError, match="was checked; name the version"):
        record_check(
            registry, version.name, version.number, adapter="f" * 64, artefact=DIGEST, words=WORDS
        )
    with pytest.raises(RegistryError, match="nowhere"):
        record_check(registry, version.name, "nowhere", adapter="", artefact=DIGEST, words=WORDS)
    assert not any(key.startswith("check.") for key in registry.version(*version[:2]).tags)
