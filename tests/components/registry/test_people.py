"""Who a server says that somebody is, and two people where the policy asks for them."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from components.core.errors import EvidenceError, RegistryError
from components.core.paths import POLICIES, Workspace
from components.core.untrusted_text import for_markdown
from components.registry.audit import audit_version
from components.registry.changes import chain_of
from components.registry.mlflow_registry import CHAMPION, EVIDENCE, Registry
from components.registry.people import REGISTERED_BY, registrant
from components.registry.promotion import promote, reject, rollback, withdraw
from components.registry.registration import register
from components.registry.verification import CARD
from tests.releases import NAMES, name_model, write_all
from tests.tracking import TrackingServer, serve

pytestmark = pytest.mark.slow  # tracking servers

_NUMBERS = itertools.count(1)
PASSWORDS = {name: f"a-long-secret-of-{name}" for name in ("bob", "ann", "Bob ")}
WORD = {"by": "Ann Example", "why": "better"}
Become = Callable[[str], None]


@contextmanager
def answering(status: int, body: str) -> Iterator[str]:
    """Yield the address of a server that says the same to everybody."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_database_and_a_server_without_users_verify_nobody(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert Registry(tmp_path).user() == ""
    assert list(tmp_path.iterdir()) == []
    with answering(404, "not found") as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        assert Registry(tmp_path).user() == ""


@pytest.mark.parametrize("body", ["<html>", "[]", "{}", json.dumps({"user": "ann"})])
def test_an_answer_that_names_nobody_is_no_user(body, tmp_path, monkeypatch):
    with answering(200, body) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        with pytest.raises(RegistryError):
            Registry(tmp_path).user()


def ask_for_two(workspace: Workspace, weight: float = 2) -> None:
    """Let the policy ask for two people, and decide under it."""
    policy = workspace.root / POLICIES / "default.yaml"
    if "two_people" not in policy.read_text():
        policy.write_text(f"two_people: true\n{policy.read_text()}")
    write_all(workspace, weight=weight, policy=policy)


def test_where_nobody_is_verified_two_people_are_not_shown(registered, registry):
    ask_for_two(registered)
    version = register(registered, **NAMES).version
    refused = r"nobody verified.*approved by Ann Example \(stated, not verified\).*signed_by"
    with pytest.raises(EvidenceError, match=refused):
        promote(registry, NAMES["name"], version, **WORD)
    assert registry.model(NAMES["name"]).aliases.get(CHAMPION) is None
    assert reject(registry, NAMES["name"], version, **WORD).user == ""


def test_who_registered_stands_in_the_tag_and_in_the_card(registered, registry, tmp_path):
    version = registry.version(NAMES["name"], "1")
    registry.fetch(version, tmp_path)
    assert version.tags[REGISTERED_BY] == "not verified" and registrant(version, tmp_path) == ""
    card = tmp_path / EVIDENCE / CARD
    lines = card.read_text().splitlines()
    card.write_text("\n".join(one for one in lines if for_markdown(REGISTERED_BY) not in one))
    for tags in ({}, version.tags):
        with pytest.raises(EvidenceError, match="the model card says otherwise"):
            registrant(version._replace(tags=tags), tmp_path)


# --- on a server with users --------------------------------------------------------------------


@pytest.fixture(scope="session")
def users(tracking_server: TrackingServer) -> TrackingServer:
    """The server with people who may do everything, two of whose names are one to the eye."""
    for name, password in PASSWORDS.items():
        tracking_server.add_user(name, password, admin=True)
    return tracking_server


@pytest.fixture
def become(users: TrackingServer, monkeypatch: pytest.MonkeyPatch) -> Become:
    """A function that makes this process that of a user."""

    def became(name: str) -> None:
        for key, value in users.environment(name, PASSWORDS[name]).items():
            monkeypatch.setenv(key, value)

    return became


@pytest.fixture
def names() -> dict[str, str]:
    number = next(_NUMBERS)
    return {"name": f"people-{number}", "experiment": f"people-{number}"}


@pytest.fixture
def trained(tmp_path, finished, become: Become, names) -> Workspace:
    """A version that bob registered, under a policy that asks for two people."""
    become("bob")
    root = shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    workspace = name_model(Workspace(root, "demo"), names["name"])
    ask_for_two(workspace)
    register(workspace, **names)
    return workspace


def test_who_trained_does_not_approve_and_somebody_else_does(trained, names, become: Become):
    name, registry = names["name"], Registry(trained.root)
    with pytest.raises(
        EvidenceError, match=r"MLflow user bob.*Ann Example \(MLflow user bob\).*els"
    ):
        promote(registry, name, **WORD)
    become("ann")
    with pytest.raises(EvidenceError, match=r"bob.*not verified.*ann.*USERNAME"):
        promote(registry, name, by="ann", why="better", stated=True)
    assert CHAMPION not in registry.model(name).aliases
    change = promote(registry, name, **WORD)
    assert (change.user, change.who) == ("ann", "Ann Example (MLflow user ann)")
    links = dict(audit_version(registry, name, CHAMPION))
    assert links["registered"] == "by MLflow user bob"
    assert "Ann Example (MLflow user ann)" in links["history"]
    assert withdraw(registry, name, "1", **WORD).user == "ann"


def test_an_account_that_looks_the_same_is_nobody_else(trained, names, become: Become):
    become("Bob ")
    with pytest.raises(EvidenceError, match="cannot be taken for this one"):
        promote(Registry(trained.root), names["name"], **WORD)


def test_a_changed_tag_makes_nobody_else_the_trainer(trained, names):
    name, registry = names["name"], Registry(trained.root)
    version = registry.version(name, "1")
    for claimed in ("ann", "bоb", "", "not verified"):
        registry.set_version_tag(version, REGISTERED_BY, claimed)
        with pytest.raises(EvidenceError, match="the model card says otherwise"):
            promote(registry, name, **WORD)
    registry.set_version_tag(version, REGISTERED_BY, "bob")
    # A profile of the same model whose policy asks for nothing: the decision is about another one.
    policies, lax = trained.root / POLICIES, trained.root / "profiles" / "lax.yaml"
    asking = (policies / "default.yaml").read_text()
    (policies / "default.yaml").write_text(asking.replace("two_people: true\n", ""))
    lax.write_text(trained.profile_file.read_text())
    registry.set_version_tag(version, "profile", "lax")
    with pytest.raises(EvidenceError, match="policy"):
        promote(registry, name, **WORD)
    assert CHAMPION not in registry.model(name).aliases


@pytest.mark.slow
def test_registering_again_as_somebody_else_leaves_who_it_was(trained, names, become: Become):
    become("ann")
    assert not register(trained, **names).new
    registry = Registry(trained.root)
    assert registry.version(names["name"], "1").tags[REGISTERED_BY] == "bob"
    promote(registry, names["name"], **WORD)
    ask_for_two(trained, weight=3)
    assert register(trained, **names).version == "2"
    with pytest.raises(EvidenceError, match="MLflow user ann"):
        promote(registry, names["name"], **WORD)
    become("bob")
    promote(registry, names["name"], by="bob", why="better")
    become("ann")
    back = rollback(registry, names["name"], **WORD)
    assert (back.version, back.user) == ("1", "ann")
    assert [one.user for one in chain_of(registry.model(names["name"]).tags).changes] == [
        *("ann", "bob", "ann")
    ]


@pytest.mark.slow
def test_a_real_server_without_users_verifies_nobody(tmp_path, monkeypatch):
    with serve(tmp_path, users=False) as server:
        for key, value in server.environment().items():
            monkeypatch.setenv(key, value)
        assert Registry(tmp_path).user() == ""
