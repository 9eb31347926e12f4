"""A version handed on: brought whole, signed, and verified where there is no registry."""

from __future__ import annotations

import json
import shutil

import pytest

from components.core.paths import ROWS, Workspace
from components.gate.result import UNLABELLED, UNTESTED
from components.registry.registration import register
from tests.components.registry.test_signatures import make_key
from tests.flows.conftest import invoke
from tests.releases import NAMES, write_all


def test_a_signed_version_is_verified_in_an_empty_folder(
    project: Workspace, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    register(write_all(project), **NAMES)
    private, public = make_key(tmp_path / "keys", "ann")
    done = invoke("sign", "demo-safety@candidate", "--key", str(private))
    assert done.returncode == 0 and "signed: demo-safety version 1 by key" in done.stdout
    away = tmp_path / "away"
    away.mkdir()
    folder, rows = away / "version", away / ROWS
    brought = invoke("pull", "demo-safety@candidate", str(folder), "--whole", "--key", str(public))
    assert brought.returncode == 0 and "safereact verify" in " ".join(brought.stdout.split())
    shutil.copy(project.stage("evaluate") / ROWS, rows)
    shutil.rmtree(project.root)
    monkeypatch.delenv("SAFEREACT_ROOT")
    monkeypatch.chdir(away)

    asked = ("verify", "version", "--key", str(public), "--rows", str(rows))
    found = invoke(*asked)
    assert found.returncode == 0, found.stderr
    told = " ".join(found.stdout.split())
    assert "ann.pem, as it lies here" in told and "the rows are those" in told
    assert "no signature was looked at" in invoke("verify", "version").stdout
    (folder / "signatures" / "0.json").write_text("cut sh")
    for shown in (found := invoke(*asked), invoke("verify", "version")):
        assert shown.returncode == 0 and found.returncode == 0, shown.stderr
        assert "a signature is there and cannot be read" in " ".join(shown.stdout.split())

    rows.write_bytes(b"others")
    assert "the rows are" in invoke(*asked).stderr
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"others")
    broken = invoke(*asked)
    assert broken.returncode == 1 and "adapter" in broken.stderr


def test_the_words_are_those_of_the_decision_made_again(project: Workspace, tmp_path):
    register(write_all(project), **NAMES)
    folder = tmp_path / "version"
    assert invoke("pull", "demo-safety@candidate", str(folder), "--whole").returncode == 0
    file = folder / "evidence" / "decision.json"
    stated = json.loads(file.read_text())
    perfect = {"positives": 100, "found": 100, "negatives": 100, "mistaken": 0}
    rules = [rule | {"accuracy": perfect} for rule in stated["rules"]]
    file.write_text(json.dumps(stated | {"attacks": ["prefilled"], "rules": rules}))
    told = " ".join(invoke("verify", str(folder)).stdout.split())
    assert UNTESTED in told and UNLABELLED in told


def test_keys_of_one_name_are_two(project: Workspace, tmp_path):
    register(write_all(project), **NAMES)
    private, ann = make_key(tmp_path / "ann", "pub")
    _, ben = make_key(tmp_path / "ben", "pub")
    assert invoke("sign", "demo-safety@candidate", "--key", str(private)).returncode == 0
    folder = str(tmp_path / "version")
    done = invoke("pull", "demo-safety@candidate", folder, "--key", str(ann), "--key", str(ben))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("folder", ["missing", "empty", "file"])
def test_what_is_no_version_is_one_message(folder, tmp_path):
    path = tmp_path / folder
    if folder == "empty":
        path.mkdir()
    elif folder == "file":
        path.write_text("x")
    done = invoke("verify", str(path))
    assert done.returncode == 1 and str(path) in "".join(done.stderr.split()), done.stderr
