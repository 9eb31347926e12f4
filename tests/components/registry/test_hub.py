"""An adapter on a hub: its card, what is pushed, and what is said of a base that is not here."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import ModelCard

from components.core.errors import RegistryError
from components.core.vocabulary import Arm
from components.registry.delivery import README, missing_base, publish, pull
from components.registry.mlflow_registry import CANDIDATE
from components.registry.verification import ADAPTER_FILES


class Hub(ThreadingHTTPServer):
    """As much of the hub's API as a push of small files asks for."""

    def __init__(self) -> None:
        self.made: list[dict] = []
        self.files: dict[str, bytes] = {}
        self.refuses = False
        super().__init__(("127.0.0.1", 0), Answers)
        self.address = f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        found = {"sha": "0" * 40, "siblings": [], "id": "team/demo"}
        self.answer(found, 404 if self.server.refuses else 200)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.refuses:
            self.answer({"error": "no\x1b[31m"}, 403)
        elif self.path.endswith("/repos/create"):
            self.server.made.append(json.loads(body))
            self.answer({"url": f"{self.server.address}/team/demo"})
        elif "/preupload/" in self.path:
            files = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            self.answer({"files": files})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    self.server.files[value["path"]] = base64.b64decode(value["content"])
            address = f"{self.server.address}/team/demo/commit/{'1' * 40}"
            self.answer({"commitOid": "1" * 40, "commitUrl": address, "success": True})
        else:
            self.answer({"errors": [], "warnings": []})

    def answer(self, document: dict, status: int = 200) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # As HF_ENDPOINT sets it when huggingface_hub is imported.
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        yield server
        server.shutdown()


def test_the_adapter_and_its_card_are_pushed_and_nothing_else(registered, registry, hub):
    publish(registry, "demo-safety", CANDIDATE, "team/demo")
    assert [(one["name"], one["visibility"]) for one in hub.made] == [("demo", "private")]
    assert set(hub.files) == {README, *ADAPTER_FILES}
    trained = registered.stage("train") / "adapter"
    assert all(hub.files[name] == (trained / name).read_bytes() for name in ADAPTER_FILES)


def test_what_the_hub_refuses_is_a_message(registered, registry, hub):
    hub.refuses = True
    with pytest.raises(RegistryError, match="the hub did not take demo-safety version 1") as found:
        publish(registry, "demo-safety", "1", "team/demo")
    assert "\x1b" not in str(found.value)
    with pytest.raises(RegistryError, match="did not take"):
        publish(registry, "demo-safety", "1", "no such/name/at all")
    assert hub.files == {}


def test_the_hub_reads_the_card_with_its_results(registered, registry, release, tmp_path):
    pull(registry, "demo-safety", CANDIDATE, tmp_path / "out")
    card = ModelCard.load(tmp_path / "out" / README)
    assert card.data.library_name == "peft" and card.data.model_name == "demo-safety"
    found = {one.metric_type: one for one in card.data.eval_results}
    figure = release.evidence.rates[Arm.RESTORED]["harmful.refused"]
    assert found["harmful.refused"].metric_value == figure.rate
    assert found["harmful.refused"].metric_args == {"low": figure.low, "high": figure.high}
    assert found["harmful.refused"].dataset_revision == release.evidence.test_prompts


@pytest.mark.parametrize(
    ("base", "missing"), [("./nowhere", True), (".", False), ("owner/name", False)]
)
def test_a_base_that_is_a_path_is_looked_for(tmp_path, monkeypatch, base, missing):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    assert missing_base(tmp_path) == (base if missing else None)
