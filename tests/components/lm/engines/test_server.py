"""A server that speaks the completions API gives the same rows, or a refusal with its reason."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from components.core.errors import ConfigError, InterruptionError, ModelError, SafeReActError
from components.lm import chat
from components.lm.engines.finished import FinishedRequests
from components.lm.engines.hosts import open_host
from components.lm.engines.protocol import Request, collect
from components.lm.engines.server import ServerHost
from components.lm.generation import checkpoint_end_tokens, engine_of
from components.lm.loading import checkpoint_folder, load_model, load_tokenizer

KEY = "a key of this test"


class Served:
    """A model behind an address: `plain` takes and gives only text, `answers` come first."""

    def __init__(self, folder, *, plain=False, bos=False):
        self.tokenizer, self.model = load_tokenizer(folder), load_model(folder)
        self.plain, self.bos, self.answers, self.bodies = plain, bos, [], []
        self.models = 200, {"data": [{"id": "base"}, {"id": "restored"}]}
        self.anyone = False  # is let in, whatever the key
        self.lock = threading.Lock()

    def complete(self, body):
        prompt = body["prompt"]
        if self.plain:
            if not isinstance(prompt, str):
                return 400, {"error": "prompt must be a string"}
            prompt = self.tokenizer.encode(prompt, add_special_tokens=False)
        prompt = [1] * self.bos + prompt
        request = Request(tuple(prompt), body["max_tokens"])
        engine = engine_of(self.model, self.tokenizer, batch=1)
        with self.lock:
            self.bodies.append(body)
            ids = list(collect(engine, [request], label="served")[0][0])
        ended = ids[-1] in engine.ends
        choice = {
            "text": self.tokenizer.decode(ids[: len(ids) - ended], skip_special_tokens=False),
            "finish_reason": "stop" if ended else "length",
        }
        if not self.plain:
            choice["token_ids"] = ids
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(ids)}
        return 200, {"choices": [choice], "usage": usage}

    def handler(self):
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.answer(*served.models)

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with served.lock:
                    first = served.answers.pop(0) if served.answers else None
                self.answer(*(first or served.complete(body)))

            def answer(self, status, document):
                if self.headers["Authorization"] != f"Bearer {KEY}" and not served.anyone:
                    status, document = 401, {}
                content = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *words):
                pass

        return Handler


@contextmanager
def serving(served):
    listener = ThreadingHTTPServer(("127.0.0.1", 0), served.handler())
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.server_port}/v1"
    finally:
        listener.shutdown()
        listener.server_close()


@pytest.fixture(scope="module")
def folder(random_models):
    return checkpoint_folder(random_models, random_models.base)


@pytest.fixture(scope="module")
def asked(folder, random_prompts):
    """Requests with an end token on the way: the limit cuts only some of them."""
    tokenizer = load_tokenizer(folder)
    rows = random_prompts.rows()[:6]
    return [Request(tuple(chat.render_prompt(tokenizer, row.text)), 5) for row in rows]


@pytest.fixture(scope="module")
def expected(folder, asked):
    with open_host(folder, batch=4) as host:
        return collect(host.engine("base", None), asked, label="here")


@pytest.fixture
def served(folder, monkeypatch, request):
    made = Served(folder, **getattr(request, "param", {}))
    with serving(made) as url:
        monkeypatch.setenv("SAFEREACT_ENGINE", "openai")
        monkeypatch.setenv("SAFEREACT_ENGINE_URL", url)
        monkeypatch.setenv("SAFEREACT_ENGINE_KEY", KEY)
        monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)
        yield made


@contextmanager
def engine(folder, arm="base"):
    tokenizer = load_tokenizer(folder)
    host = ServerHost(tokenizer, checkpoint_end_tokens(folder, tokenizer))
    try:
        yield host.engine(arm, None)
    finally:
        host.close()


def test_a_server_writes_the_same_rows(served, folder, asked, expected):
    with open_host(folder, batch=4) as host:
        assert host.engine("base", None).name == "openai"
        assert collect(host.engine("base", None), asked, label="there") == expected
    assert {body["model"] for body in served.bodies} == {"base"}
    assert {tuple(body["prompt"]) for body in served.bodies} == {r.prompt for r in asked}


@pytest.mark.parametrize("served", [{"plain": True}], indirect=True)
def test_a_server_of_text_writes_the_same_rows(served, folder, asked, expected, monkeypatch):
    with engine(folder) as there, pytest.raises(ModelError, match="ENGINE_PROMPTS=text"):
        collect(there, asked, label="there")
    monkeypatch.setenv("SAFEREACT_ENGINE_PROMPTS", "text")
    with engine(folder) as there:
        assert collect(there, asked, label="there") == expected


def test_every_sample_is_asked_with_its_own_seed(served, folder, asked):
    request = Request(asked[0].prompt, 3, samples=3, temperature=0.7, top_p=0.9, seed=5)
    with engine(folder) as there:
        assert [len(s) for s in collect(there, [request], label="there")] == [3]
    assert {body["seed"] for body in served.bodies} == {request.sample_seed(k) for k in range(3)}
    asked_for = {
        tuple(body[k] for k in ("temperature", "top_p", "top_k")) for body in served.bodies
    }
    assert asked_for == {(0.7, 0.9, -1)}
    with engine(folder) as there:
        collect(there, [replace(request, top_k=20)], label="there")
    assert [body["top_k"] for body in served.bodies[3:]] == [20, 20, 20]


def test_a_busy_server_is_asked_again(served, folder, asked, expected):
    served.answers = [(503, {}), (429, {}), (500, {})]
    with engine(folder) as there:
        assert collect(there, asked, label="there") == expected


def test_a_server_that_stays_away_interrupts(served, folder, asked):
    served.answers = [(503, {})] * 100
    with (
        engine(folder) as there,
        pytest.raises(InterruptionError, match=r"after 8 requests \(HTTP 503"),
    ):
        collect(there, asked, label="there")


def refuse(served, asked, refused, others):
    """Let the server refuse one prompt once all that are asked are under way; `others` answers the
    rest after that."""
    everyone, failed = threading.Barrier(len(asked)), threading.Event()

    def complete(body):
        if not failed.is_set():
            everyone.wait(30)
        if tuple(body["prompt"]) == refused:
            failed.set()
            return 400, {}
        failed.wait(30)
        return others(body)

    served.complete = complete


def test_what_was_under_way_when_another_request_failed_is_not_asked_again(
    served, folder, asked, expected, tmp_path
):
    plain, path, came = served.complete, tmp_path / "finished.jsonl", {}

    def later(body):
        time.sleep(0.3)  # the refusal is there before any other answer
        return plain(body)

    refuse(served, asked, asked[0].prompt, later)
    with engine(folder) as there:
        with (
            pytest.raises(ModelError, match=r"refuses the request \(HTTP 400"),
            FinishedRequests(path) as finished,
        ):
            for group in finished.resume(there, "a model").write(asked):
                came |= group
        assert came == {i: expected[i] for i in range(1, len(asked))}
        served.complete = plain
        served.bodies.clear()
        with FinishedRequests(path) as finished:
            again = finished.resume(there, "a model")
            assert collect(again, asked, label="again") == expected
    assert [tuple(body["prompt"]) for body in served.bodies] == [asked[0].prompt]


def test_a_request_that_would_be_sent_again_gives_up_when_another_failed(
    served, folder, asked, monkeypatch
):
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 5.0)
    sent = []

    def busy(body):
        sent.append(body)
        return 503, {}

    refuse(served, asked[:2], asked[0].prompt, busy)
    with (
        engine(folder) as there,
        pytest.raises(ModelError, match=r"refuses the request \(HTTP 400"),
    ):
        collect(there, asked[:2], label="there")
    assert len(sent) == 1


def answer(text="x", reason="stop", read=None, count=1, ids=None):
    choice = {"text": text, "finish_reason": reason}
    if ids is not None:
        choice["token_ids"] = ids
    return choice, {"prompt_tokens": read, "completion_tokens": count}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"read": 99}, "read 99 tokens of a prompt of"),
        ({"reason": "content_filter"}, "ended a completion by 'content_filter'"),
        ({"reason": "length", "ids": [20, 21]}, "cut a completion at 2 tokens of 5"),
        ({"text": "jar box", "count": 7}, "counted 7 tokens in a text .* as 2"),
        ({"text": "jar  box", "count": 2}, "cannot be told"),
    ],
)
def test_an_answer_that_cannot_be_trusted_is_refused(served, folder, asked, given, message):
    choice, usage = answer(**{"read": len(asked[0].prompt), **given})
    served.answers = [(200, {"choices": [choice], "usage": usage})]
    with engine(folder) as there, pytest.raises(ModelError, match=message):
        collect(there, asked[:1], label="there")


def test_a_model_that_is_not_served_is_named(served, folder):
    with (
        pytest.raises(ConfigError, match="no model 'sft-baseline', but base, restored"),
        engine(folder, "sft-baseline"),
    ):
        pass


def test_a_wrong_key_and_a_wrong_address_are_named(served, folder, monkeypatch):
    monkeypatch.setenv("SAFEREACT_ENGINE_KEY", "another")
    with pytest.raises(ConfigError, match="SAFEREACT_ENGINE_KEY"), engine(folder):
        pass


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (None, "is not set"),
        ("localhost:8000", "is no http"),
        ("ftp://user:secret@h/v1", "is no http"),
        ("http://user:secret@[::1/v1", "is no http"),
        ("http://user:secret@h:99999/v1", "is no http"),
        ("http://user:secret@h\x1b/v1", "is no http"),
    ],
)
def test_an_address_that_is_none_is_told_without_its_secrets(folder, monkeypatch, url, told):
    monkeypatch.delenv("SAFEREACT_ENGINE_URL", raising=False)
    if url is not None:
        monkeypatch.setenv("SAFEREACT_ENGINE_URL", url)
    with pytest.raises(ConfigError, match=f"SAFEREACT_ENGINE_URL {told}") as raised, engine(folder):
        pass
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("models", "told"),
    [
        ((503, {}), "gave no answer after 8 requests .HTTP 503"),
        ((404, {}), "refuses the request .HTTP 404.; check the address"),
        ((200, b"<p>"), "answers '/models' with no JSON"),
        ((200, {"data": [{"id": "other"}]}), "has no model 'base', but other"),
    ],
)
def test_of_an_address_the_host_and_the_port_are_told(served, folder, monkeypatch, models, told):
    place = os.environ["SAFEREACT_ENGINE_URL"].partition("//")[2].partition("/")[0]
    monkeypatch.setenv("SAFEREACT_ENGINE_URL", f"http://user:secret@{place}/secret/v1")
    served.anyone, served.models = True, models  # httpx2 sends the password instead of the key
    with (
        pytest.raises(
            SafeReActError, match=f"the server {place} of SAFEREACT_ENGINE_URL {told}"
        ) as raised,
        engine(folder),
    ):
        pass
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("models", [{"data": {"id": "base"}}, {"data": ["base"]}, {"data": 3}, [1]])
def test_a_list_of_models_that_is_none_is_one_message(served, folder, models):
    served.models = 200, models
    with (
        pytest.raises(ModelError, match=r"\((data|data\.0|data\.0\.id): |no JSON object"),
        engine(folder),
    ):
        pass


COMPLETE = {
    "choices": [{"text": "x", "finish_reason": "stop", "token_ids": [20]}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1},
}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"choices": "yes"}, "(choices: "),
        ({"choices": {"text": "x"}}, "(choices: "),
        ({"choices": []}, "(choices: "),
        ({"choices": ["x"]}, "(choices.0: "),
        ({"choices": [{"text": "x", "finish_reason": ["stop"]}]}, "(choices.0.finish_reason: "),
        ({"choices": [{"text": 3, "finish_reason": "stop"}]}, "(choices.0.text: "),
        ({"choices": [{"finish_reason": "stop", "token_ids": 20}]}, "(choices.0.token_ids"),
        ({"choices": [{"finish_reason": "stop", "token_ids": ["a"]}]}, "(choices.0.token_ids"),
        ({"choices": [{"finish_reason": "stop", "token_ids": [[]]}]}, "(choices.0.token_ids"),
        ({"usage": [1, 1]}, "(usage: "),
        ({"usage": "many"}, "(usage: "),
        ({"usage": {}}, "(usage.prompt_tokens: "),
        ({"usage": {"prompt_tokens": "1"}}, "(usage.prompt_tokens: "),
    ],
)
def test_an_answer_of_another_shape_is_one_message(served, folder, asked, changed, told):
    request = Request(asked[0].prompt[:1], 5)
    served.answers = [(200, COMPLETE | changed)]
    with engine(folder) as there, pytest.raises(ModelError, match=re.escape(told)):
        collect(there, [request], label="there")
