"""The walk from a champion through all that it rests on."""

from __future__ import annotations

import shutil

import pytest

from components.core.errors import EvidenceError
from components.core.paths import POLICIES
from components.registry.audit import audit_version
from components.registry.changes import PREFIX
from components.registry.delivery import sign
from components.registry.mlflow_registry import CHAMPION, Registry
from components.registry.promotion import promote, withdraw
from components.registry.registration import register
from components.registry.signatures import open_signer
from tests.components.registry.test_signatures import make_key
from tests.releases import NAMES, write_all

NAME = NAMES["name"]
ANN = {"by": "ann", "why": "better"}
LINKS = [
    *(CHAMPION, "decision", "policy", "adapter", "rows", "data", "models", "code"),
    *("registered", "signature", "history"),
]


@pytest.fixture
def champion(registered, registry):
    promote(registry, NAME, **ANN)
    return registered


def walk(registry: Registry, alias: str = CHAMPION) -> dict[str, str]:
    return dict(audit_version(registry, NAME, alias))


def test_every_link_of_a_champion_holds(champion, registry):
    found = walk(registry)
    assert list(found) == LINKS
    assert found["rows"] == "every figure counted again"
    assert "promoted by ann (stated, not verified): 'better'" in found["history"]
    assert "no signature covers" in found["history"]


def test_what_is_not_at_hand_is_said(champion, registry):
    shutil.rmtree(champion.stage("evaluate"))
    assert "not here" in walk(registry)["rows"]
    champion.profile_file.unlink()
    found = walk(registry)
    assert "not here" in found["policy"] and "not here" in found["rows"]


def test_a_newer_policy_is_no_break(champion, registry):
    policy = champion.root / POLICIES / "default.yaml"
    policy.write_text(policy.read_text().replace("at_least: 0.85", "at_least: 0.86"))
    assert "has another now" in walk(registry)["policy"]


def test_a_signature_that_the_policy_asks_for_is_looked_for(registered, registry, tmp_path):
    policy = registered.root / POLICIES / "default.yaml"
    policy.write_text(f"signed_by: [ann]\n{policy.read_text()}")
    version = register(write_all(registered, weight=2, policy=policy), **NAMES).version
    private, public = make_key(tmp_path / "keys", "ann")
    (registered.root / "mlflow" / "keys").mkdir()
    shutil.copy(public, registered.root / "mlflow" / "keys")
    with pytest.raises(EvidenceError, match=r"^signature: ann has not signed it"):
        walk(registry, version)
    sign(registry, NAME, version, open_signer(str(private), None))
    promote(registry, NAME, version, **ANN)
    found = walk(registry)
    assert "ann, as its policy asks" in found["signature"]
    assert "no signature covers" in found["history"]
    sign(registry, NAME, version, open_signer(str(private), None))
    assert "no signature covers" not in walk(registry)["history"]


def set_tag(registry: Registry, key: str, value: str) -> None:
    registry._client.set_model_version_tag(NAME, "1", key, value)


def change_file(workspace, name: str) -> None:
    (path,) = (workspace.root / "mlruns").rglob(f"artifacts/{name}")
    path.write_bytes(path.read_bytes() + b" ")


BREAKS = {
    "alias": (CHAMPION, lambda w, r: r.set_alias(NAME, CHAMPION, None)),
    "withdrawn": (CHAMPION, lambda w, r: withdraw(r, NAME, "1", **ANN)),
    "weights": ("decision", lambda w, r: change_file(w, "adapter/adapter_model.safetensors")),
    "figures": ("decision", lambda w, r: change_file(w, "evidence/metrics.json")),
    "base": ("models", lambda w, r: set_tag(r, "base_digest", "0" * 64)),
    "commit": ("code", lambda w, r: set_tag(r, "git_commit", "0" * 40)),
    "change": (CHAMPION, lambda w, r: r.set_tag(NAME, f"{PREFIX}000002", "{}")),
}


@pytest.mark.parametrize("what", BREAKS)
def test_the_first_break_is_named_after_what_holds(champion, registry, what):
    link, make = BREAKS[what]
    make(champion, registry)
    walked = audit_version(registry, NAME, CHAMPION)
    for name in LINKS[: LINKS.index(link)]:
        assert next(walked).name == name
    with pytest.raises(EvidenceError, match=f"^{link}: "):
        next(walked)
