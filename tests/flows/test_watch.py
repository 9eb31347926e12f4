"""The flow `watch` on a real Prefect server: states, the retraining, and a message that arrives."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace

import pytest

from components.core.errors import RegistryError
from components.core.paths import Workspace
from components.gate.result import Conclusion
from components.studies.watch.result import Watch
from flows.runner.notices import BELOW
from tests.evidence import make_rule
from tests.flows.conftest import PROFILE, invoke


def found(conclusion: Conclusion) -> Watch:
    """A watch without figures, whose one rule of the policy had this outcome."""
    return Watch.model_construct(
        version="3",
        lines=(),
        rules=(make_rule("refuses", conclusion=conclusion, figure=0.5),),
        notes=(),
    )


@pytest.fixture
def messages() -> Iterator[tuple[str, list[str]]]:
    """The address of somebody who gets messages, and what has come."""
    came: list[str] = []

    class Inbox(BaseHTTPRequestHandler):
        def log_message(self, *_):
            """Say nothing."""

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.append(json.loads(body)["text"])
            self.send_response(200)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Inbox)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", came
    server.shutdown()
    server.server_close()


def test_messages_need_a_server(project: Workspace):
    done = invoke("notify", "slack-webhook/ops")
    assert done.returncode == 2 and "PREFECT_API_URL" in done.stderr


def test_what_was_found_is_told_although_no_retraining_starts(project: Workspace, monkeypatch):
    import flows.watch as module

    told = []
    monkeypatch.setattr(module, "measure_champion", lambda *_, **__: found(Conclusion.FAIL))
    monkeypatch.setattr(module, "_publish", lambda *_: None)
    monkeypatch.setattr(module, "PREFECT_API_URL", SimpleNamespace(value=lambda: "a server"))
    monkeypatch.setattr(module, "emit_event", lambda event, *_, **__: told.append(event))

    def missing(*_, **__):
        raise LookupError("no such deployment")

    monkeypatch.setattr(module, "run_deployment", missing)
    with pytest.raises(LookupError):
        module.watch.fn(PROFILE)
    assert told == [BELOW]
    monkeypatch.setattr(module, "PREFECT_API_URL", SimpleNamespace(value=lambda: None))
    monkeypatch.setattr(module, "get_run_logger", lambda: logging.getLogger(__name__))
    state = module.watch.fn(PROFILE)
    assert state.message.endswith("retrain/weekly was not started: PREFECT_API_URL is not set")


@pytest.mark.slow
def test_people_are_told_and_the_retraining_begins(
    server: str, project: Workspace, messages, monkeypatch
):
    from prefect.blocks.notifications import CustomWebhookNotificationBlock
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    import flows.watch as module
    from flows.retrain import retrain

    monkeypatch.setenv("PREFECT_API_URL", server)
    address, came = messages
    outcomes = iter((found(Conclusion.FAIL), found(Conclusion.PASS)))
    monkeypatch.setattr(module, "watch_once", lambda *_, **__: next(outcomes))
    with temporary_settings({PREFECT_API_URL: server}):
        CustomWebhookNotificationBlock.register_type_and_schema()
        block = CustomWebhookNotificationBlock(
            name="inbox", url=address, json_data={"text": "{{subject}}: {{body}}"}
        )
        block.save("inbox")
        for how in ("made", "brought up to date"):
            done = invoke("notify", "custom-webhook/inbox")
            assert done.returncode == 0 and how in done.stdout, done.stderr
        assert invoke("notify", "custom-webhook/nobody").returncode == 2
        retrain.to_deployment("weekly").apply()

        state = module.watch(PROFILE, return_state=True)
        assert state.name == "BelowPolicy" and "retrain/weekly was started" in state.message
        with get_client(sync_client=True) as client:
            (run,) = [one for one in client.read_flow_runs() if one.deployment_id]
        assert run.parameters == {"profile": PROFILE}
        assert module.watch(PROFILE, return_state=True).name == "CannotTell"  # there was no figure

        def unreachable(*_, **__):
            raise RegistryError("MLflow does not answer")

        monkeypatch.setattr(module, "watch_once", unreachable)
        assert module.watch(PROFILE, return_state=True).is_failed()
    for _ in range(600):
        if len(came) == 3:
            break
        time.sleep(0.1)
    kinds = sorted(text.partition(": ")[0].rpartition(".")[2] for text in came)
    assert kinds == ["below-policy", "cannot-tell", "failed"], came
    assert any("does not answer" in text for text in came)
