"""Signed statements: what they are about, who signed, and that nothing else passes for them."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from components.core.errors import ConfigError, EvidenceError, RegistryError
from components.core.paths import ADAPTER
from components.core.storage import digest_file
from components.registry.changes import chain_of
from components.registry.delivery import pull, sign
from components.registry.mlflow_registry import EVIDENCE, SIGNATURES, Registry
from components.registry.mlflow_runs import LoggedModel
from components.registry.promotion import promote
from components.registry.registration import register
from components.registry.signatures import (
    check_signed,
    damaged,
    open_signer,
    read_public_key,
    signed_beside,
    statement_of,
    write_envelope,
)
from components.registry.verification import LOADER, verify_files
from tests.releases import NAMES, write_all

NAME = NAMES["name"]


def make_key(folder: Path, name: str) -> tuple[Path, Path]:
    """Return the files of a new private key and of its public half."""
    private = Ed25519PrivateKey.generate()
    files = folder / f"{name}.key", folder / f"{name}.pem"
    folder.mkdir(parents=True, exist_ok=True)
    files[0].write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    files[0].chmod(0o600)
    public = private.public_key()
    files[1].write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return files


@pytest.fixture
def ann(tmp_path):
    return make_key(tmp_path / "keys", "ann")


@pytest.fixture
def brought(registered, ann, tmp_path) -> Path:
    """A version that ann signed, in a folder of its own."""
    registry = Registry(registered.root)
    sign(registry, NAME, "candidate", open_signer(str(ann[0]), None))
    folder = tmp_path / "brought"
    pull(registry, NAME, "candidate", folder, whole=True)
    return folder


def test_a_statement_names_every_file_and_every_rule(brought):
    head = chain_of({}).head
    found = statement_of(brought, NAME, head)
    subjects = {one["name"]: one["digest"]["sha256"] for one in found["subject"]}
    weights = brought / ADAPTER / "adapter_model.safetensors"
    assert subjects["adapter/adapter_model.safetensors"] == digest_file(weights)
    beside = {one["name"] for one in found["predicate"]["configuration"]}
    kept = (path for path in (brought / EVIDENCE).rglob("*") if path.is_file())
    files = {path.relative_to(brought).as_posix() for path in kept}
    assert beside == {*files, f"history/{NAME}"}
    (history,) = (one for one in found["predicate"]["configuration"] if one["name"] not in files)
    assert history["digest"] == {"sha256": head}
    tests = [found["predicate"][f"{kind}Tests"] for kind in ("passed", "warned", "failed")]
    rules = json.loads((brought / EVIDENCE / "decision.json").read_text())["rules"]
    assert sorted(test for kind in tests for test in kind) == sorted(rule["rule"] for rule in rules)
    assert tests[2] == [] and found["predicate"]["result"] == "PASSED"


def test_the_envelope_can_be_verified_without_this_code(brought, ann):
    """By the text of DSSE v1: the signature is over type and payload with their lengths."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    (path,) = (brought / SIGNATURES).iterdir()
    envelope = json.loads(path.read_text())
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"].encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    load_pem_public_key(ann[1].read_bytes()).verify(signature, signed)
    assert json.loads(payload)["_type"] == "https://in-toto.io/Statement/v1"


def signers_of(folder: Path, *keys: Path) -> list[str]:
    return check_signed(folder, {key.stem: read_public_key(key) for key in keys})


def test_a_signature_is_of_one_key_and_one_set_of_files(brought, ann, tmp_path):
    _, ben = make_key(tmp_path / "keys", "ben")
    assert signers_of(brought, ann[1]) == ["ann"]
    assert signers_of(brought, ben, ann[1]) == ["ann"]
    with pytest.raises(EvidenceError, match="ben has not signed it"):
        signers_of(brought, ben)
    (path,) = (brought / SIGNATURES).iterdir()
    borrowed = path.with_name(f"{read_public_key(ben).keyid}.json")
    shutil.copy(path, borrowed)
    with pytest.raises(EvidenceError, match=rf"is not by this key: .*{borrowed.name}.*of ben"):
        signers_of(brought, ben)


def test_a_signature_that_states_no_history_is_none(brought, ann, monkeypatch):
    whole = statement_of(brought, "", "")
    del whole["predicate"]["configuration"][-1]
    monkeypatch.setattr("components.registry.signatures.statement_of", lambda *_: whole)
    write_envelope(brought, open_signer(str(ann[0]), None), "", "")
    monkeypatch.undo()
    with pytest.raises(EvidenceError, match="signature of ann is about other files"):
        signers_of(brought, ann[1])


def test_mlflow_is_told_no_other_code_to_load(brought):
    loader = brought / LOADER
    verify_files(brought)
    loader.write_text(loader.read_text().replace("components.registry", "somebody.elses"))
    with pytest.raises(EvidenceError, match="it may load other code"):
        verify_files(brought)


def change(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


@pytest.mark.parametrize(
    "file",
    ["adapter/adapter_model.safetensors", "evidence/metrics.json", "evidence/policy.json", "new"],
)
def test_whatever_is_changed_or_added_is_named(brought, ann, file):
    if file == "new":
        (brought / EVIDENCE / "new.json").write_text("{}")
    else:
        change(brought / file)
    with pytest.raises(EvidenceError, match=r"ann is about other files: .* is stated as"):
        signers_of(brought, ann[1])


DAMAGES = {
    "empty": lambda path: path.write_text(""),
    "a list": lambda path: path.write_text("[]"),
    "no field": lambda path: path.write_text("{}"),
    "null": lambda path: path.write_text("null"),
    "other types": lambda path: path.write_text(
        '{"payload": 1, "payloadType": "x", "signatures": []}'
    ),
    "no JSON": lambda path: path.write_text("{" * 9),
    "nested": lambda path: path.write_text("[" * 100_000),
    "no text": lambda path: path.write_bytes(b"\xff\xfe"),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-200]),
    "too large": lambda path: path.write_bytes(path.read_bytes() + b" " * 10_000_000),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a link to nothing": lambda path: (path.unlink(), path.symlink_to("nowhere")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_envelope_is_no_signature_and_is_told_from_none(brought, ann, tmp_path, damage):
    (path,) = (brought / SIGNATURES).iterdir()
    DAMAGES[damage](path)
    told = rf"a signature is there and cannot be read \(.*\): {SIGNATURES}/{path.name}"
    key = read_public_key(ann[1])
    for keys, named in (({"ann": key}, ", by its name that of ann"), ({}, "")):
        (found,) = damaged(brought, keys)
        assert re.fullmatch(told + named, found)
    with pytest.raises(EvidenceError, match=told) as required:
        signers_of(brought, ann[1])
    assert "ann has not signed it" not in str(required.value)
    _, ben = make_key(tmp_path / "keys", "ben")  # by whom no envelope is there
    with pytest.raises(EvidenceError, match=rf"ben has not signed it; {told}"):
        signers_of(brought, ben)
    assert re.fullmatch(f"none by a key in mlflow/keys; {told}", signed_beside(brought, tmp_path))


def test_a_damaged_envelope_beside_a_whole_one_is_in_nobodys_way_and_shown(brought, ann, tmp_path):
    (brought / SIGNATURES / "0.json").write_text("{}")
    assert signers_of(brought, ann[1]) == ["ann"]
    (tmp_path / "mlflow" / "keys").mkdir(parents=True)
    shutil.copy(ann[1], tmp_path / "mlflow" / "keys")
    by, shown = signed_beside(brought, tmp_path).split("; ")
    assert by == "by ann" and shown.endswith(f": {SIGNATURES}/0.json")


def test_what_nobody_signs_does_not_come_along(registered, ann, tmp_path):
    """Weights at the top of the folder are those that PEFT would load from it."""
    registry = Registry(registered.root)
    sign(registry, NAME, "candidate", open_signer(str(ann[0]), None))
    version = registry.version(NAME, "1")
    (tmp_path / "adapter_config.json").write_text("{}")
    registry._client.log_model_artifact(version.logged_model, str(tmp_path / "adapter_config.json"))
    keys = {"ann": read_public_key(ann[1])}
    with pytest.raises(RegistryError, match=r"adapter_config\.json beside it is no part"):
        pull(registry, NAME, "1", tmp_path / "out", whole=True, keys=keys)


def test_what_a_forger_signs_does_not_make_a_decision(brought, ann):
    """A whole version made anew, by somebody with a key, still has to follow from its evidence."""
    decision = brought / EVIDENCE / "decision.json"
    stated = json.loads(decision.read_text())
    rule = next(rule for rule in stated["rules"] if rule["figure"] is not None)
    rule["figure"] = 1.0
    decision.write_text(json.dumps(stated))
    with pytest.raises(EvidenceError, match="does not follow"):
        verify_files(brought)


def test_a_policy_that_pins_keys_promotes_what_one_of_them_signed(registered, ann, tmp_path):
    policy = registered.root / "mlflow" / "policies" / "default.yaml"
    policy.write_text(f"signed_by: [ann, ben]\n{policy.read_text()}")
    registry, who = Registry(registered.root), {"by": "cleo", "why": "better"}
    version = register(write_all(registered, weight=2, policy=policy), **NAMES).version
    with pytest.raises(ConfigError, match=r"ann\.pem"):
        promote(registry, NAME, version, **who)
    keys = registered.root / "mlflow" / "keys"
    make_key(keys, "ben")
    shutil.copy(make_key(tmp_path, "ann")[1], keys)
    with pytest.raises(EvidenceError, match=f"safereact sign {NAME}@{version} --key FILE"):
        promote(registry, NAME, version, **who)
    stranger, _ = make_key(tmp_path, "dan")
    sign(registry, NAME, version, open_signer(str(stranger), None))
    with pytest.raises(EvidenceError, match="ann has not signed it; ben has not signed it"):
        promote(registry, NAME, version, **who)
    sign(registry, NAME, version, open_signer(str(tmp_path / "ann.key"), None))
    assert promote(registry, NAME, version, **who).version == version


def test_a_profile_without_signers_promotes_nothing_of_another_model(registered):
    """Who can write to the store makes a version of a model whose profile pins keys, and lets its
    tag name a profile that does not."""
    registry, other = Registry(registered.root), "pinned-safety"
    version = registry.version(NAME, "1")
    run = registry.oldest_run(NAME)
    registry.create_version(other, LoggedModel(version.logged_model, run), version.tags, "")
    with pytest.raises(RegistryError, match=f"of the profile demo, whose registered .* {NAME}"):
        promote(registry, other, "1", by="mallory", why="better")


def test_a_version_is_pulled_only_with_the_signature_that_is_asked_for(registered, ann, tmp_path):
    registry, key = Registry(registered.root), {"ann": read_public_key(ann[1])}
    with pytest.raises(EvidenceError, match="ann has not signed it"):
        pull(registry, NAME, "candidate", tmp_path / "out", keys=key)
    assert not (tmp_path / "out").exists()
    sign(registry, NAME, "candidate", open_signer(str(ann[0]), None))
    assert pull(registry, NAME, "candidate", tmp_path / "out", keys=key) == "1"
    assert (tmp_path / "out" / "adapter_config.json").is_file()


def test_only_a_version_that_can_be_relied_on_is_signed(registered, ann):
    registry = Registry(registered.root)
    registry._client.set_model_version_tag(NAME, "1", "gate", "rejected")
    with pytest.raises(RegistryError, match="not accepted by the gate"):
        sign(registry, NAME, "candidate", open_signer(str(ann[0]), None))


def test_a_key_that_is_none_is_named_with_the_remedy(ann, tmp_path):
    private, public = ann
    with pytest.raises(ConfigError, match="--public is of a key in a KMS"):
        open_signer(str(private), public)
    for key in (tmp_path / "missing", public, tmp_path):
        with pytest.raises(ConfigError, match=r"openssl genpkey|other users"):
            open_signer(str(key), None)
    private.chmod(0o644)
    with pytest.raises(ConfigError, match=r"chmod 600"):
        open_signer(str(private), None)
    secret = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")
    )
    private.write_bytes(secret)
    private.chmod(0o600)
    with pytest.raises(ConfigError, match="without a password"):
        open_signer(str(private), None)
    with pytest.raises(ConfigError, match="openssl pkey"):
        read_public_key(private)
    with pytest.raises(ConfigError, match="--public"):
        open_signer("awskms:alias/release", None)
