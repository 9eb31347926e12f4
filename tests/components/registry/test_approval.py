"""What the form of an approval says of a version."""

from __future__ import annotations

import shutil

import pytest

from components.core.errors import EvidenceError, RegistryError
from components.core.paths import POLICIES
from components.registry.approval import describe_candidate
from components.registry.delivery import sign
from components.registry.promotion import promote
from components.registry.registration import register
from components.registry.signatures import open_signer
from tests.components.registry.test_signatures import make_key
from tests.releases import NAMES, write_all

NAME = NAMES["name"]


def cells(text: str, row: str) -> list[str]:
    """Return the cells of a table's row but its first."""
    (line,) = (one for one in text.splitlines() if one.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_figures_signature_and_what_differs_from_the_champion(registered, registry, tmp_path):
    alone = describe_candidate(registry, registry.version(NAME, "1"))
    assert "no champion" in alone and cells(alone, "harmful.refused")[1] == "–"
    promote(registry, NAME, by="ann", why="first")
    private, public = make_key(tmp_path / "keys", "ann")
    (registered.root / "mlflow" / "keys").mkdir()
    shutil.copy(public, registered.root / "mlflow" / "keys")
    number = register(write_all(registered, weight=2), **NAMES).version
    version, champion = (registry.version(NAME, one) for one in (number, "1"))
    assert "Signature: none" in describe_candidate(registry, version)
    sign(registry, NAME, number, open_signer(str(private), None))
    text = describe_candidate(registry, version)
    assert f"version {number} champion?" in text and "Signature: by ann" in text
    assert "Registered by: not verified" in text
    figures = cells(text, "harmful.refused")
    assert figures[0] == figures[1] and figures[0].startswith("95") and "n = 100" in figures[0]
    assert cells(text, r"adapter\_digest") == [version.adapter, champion.adapter]
    assert r"data\_digest" not in text  # it is the same
    registry.set_version_tag(champion, "gate", "rejected")
    unreliable = describe_candidate(registry, version)
    assert "not accepted by the gate" in unreliable
    assert cells(unreliable, "harmful.refused") == [figures[0], "–"]
    registry.set_version_tag(version, "gate", "rejected")
    with pytest.raises(RegistryError, match="not accepted by the gate"):
        describe_candidate(registry, registry.version(NAME, number))


def test_nobody_is_asked_in_a_form_where_the_policy_asks_for_two_people(registered, registry):
    policy = registered.root / POLICIES / "default.yaml"
    policy.write_text(f"two_people: true\n{policy.read_text()}")
    number = register(write_all(registered, weight=2, policy=policy), **NAMES).version
    with pytest.raises(EvidenceError, match="two_people"):
        describe_candidate(registry, registry.version(NAME, number))
