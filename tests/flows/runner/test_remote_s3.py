"""A version is pushed to an S3-compatible store that goes away, and restored from it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator

import pytest

from components.core.errors import RegistryError
from components.registry.registration import register
from flows.runner.remote import push_version, restore_version
from tests import servers
from tests.chain import dvc
from tests.flows.runner.test_remote import NAME, git, origin, registry_of, state
from tests.releases import NAMES
from tests.servers import Files

__all__ = ["origin", "registry_of"]  # fixtures

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(servers.lacking()), reason=f"lacking (CONTRIBUTING.md): {servers.lacking()}"
    ),
]
PATIENCE = 240  # seconds in which a store that is away has to be told; the machine may be busy


@pytest.fixture
def store(tmp_path) -> Iterator[Files]:
    with servers.files(tmp_path / "files") as store:
        store.use("dvc")
        yield store


def test_a_push_goes_on_when_the_store_is_back(origin, registry_of, store, tmp_path, monkeypatch):
    for key, value in store.environment().items():
        monkeypatch.setenv(key, value)
    root = origin.root
    for words in (
        ("add", "-q", "-d", "store", "s3://dvc/safereact"),
        ("modify", "-q", "store", "endpointurl", store.address),
    ):
        assert dvc(root, "remote", *words).returncode == 0
    registry, registered = registry_of(root), register(origin, **NAMES)
    store.stop()
    begin = time.monotonic()
    with pytest.raises(RegistryError, match="is registered and not pushed") as caught:
        push_version(origin, registered)
    assert time.monotonic() - begin < PATIENCE and "\n" not in str(caught.value)
    assert state(registry) == "no"
    store.start()
    assert push_version(origin, registered) == "pushed: yes"
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(root), str(clone))
    shutil.copy(root / ".dvc" / "config", clone / ".dvc" / "config")
    assert restore_version(registry_of(clone), NAME, "1").stale == []
