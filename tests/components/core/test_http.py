"""Servers of OpenAI's API: which failures are asked again, and what an answer may cost."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.core.errors import ConfigError, InterruptionError, ModelError, SafeReActError
from components.core.http import HugeAnswerError, Limits, Server, is_address, server_of
from tests.components.judges.server import Server as Served

LIMITS = Limits(seconds=1.0, repeats=2, size=1000)


@pytest.fixture
def serve(monkeypatch):
    """Start a server and return it with the client that asks it."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    served = []

    def serve(*answers, key="secret-key", limits=LIMITS, url=str, **named):
        """The last of the answers is given again and again."""
        server = Served(lambda body, number: answers[min(number, len(answers)) - 1])
        server.url = url(server.url)
        client = Server(server.url, key, limits, names=("THE_URL", "THE_KEY"), hint="", **named)
        served.extend((server, client))
        return server, client

    yield serve
    for one in served:
        one.close()


def status(number, content=b"", **headers):
    return number, {name.replace("_", "-"): value for name, value in headers.items()}, content


OK = status(200, {"a": 1})


@pytest.mark.parametrize("number", [408, 409, 429, 500, 502, 503, 504, 520, 529])
def test_a_request_to_a_busy_or_failing_server_is_repeated(serve, number):
    server, client = serve(status(number), status(number), OK)
    assert client.ask("/x", {}) == {"a": 1}
    assert len(server.bodies) == 3


@pytest.mark.parametrize("number", [204, 301, 307, 400, 401, 403, 404, 413, 422])
def test_any_other_status_is_final(serve, number):
    server, client = serve(status(number, Location="/elsewhere"), OK)
    with pytest.raises((ConfigError, ModelError), match="THE_URL"):
        client.ask("/x", {})
    assert len(server.bodies) == 1 and server.gets == []


def test_no_request_is_sent_after_the_last(serve):
    server, client = serve(status(503))
    with pytest.raises(InterruptionError, match=r"after 3 requests \(HTTP 503\)"):
        client.ask("/x", {})
    assert len(server.bodies) == 3


def test_too_long_a_wait_ends_the_requests(serve):
    _, client = serve(status(429, Retry_After="121"), OK)
    with pytest.raises(InterruptionError, match=r"after 1 request \(HTTP 429, and .* 121 s"):
        client.ask("/x", {})


@pytest.mark.parametrize("header", ["soon", "-3", "nan", "", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_wait_that_is_none_is_passed_over(serve, header):
    _, client = serve(status(503, Retry_After=header), OK)
    assert client.ask("/x", {}) == {"a": 1}


def test_an_answer_of_too_many_bytes_is_not_read_to_its_end(serve):
    _, client = serve(status(200, b"x" * 10**7))
    with pytest.raises(HugeAnswerError, match="over 1000 bytes"):
        client.ask("/x", {})


def test_an_answer_that_comes_drop_by_drop_is_given_up(serve):

    server, client = serve(OK, limits=Limits(seconds=0.2, repeats=0, size=1000))
    plain = server.http.RequestHandlerClass

    class Dripping(plain):
        def do_POST(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            for _ in range(1000):
                self.wfile.write(b" ")
                time.sleep(0.05)

    server.http.RequestHandlerClass = Dripping
    begin = time.monotonic()
    with pytest.raises(InterruptionError, match="ReadTimeout"):
        client.ask("/x", {})
    assert time.monotonic() - begin < 30


def test_a_packed_answer_is_not_unpacked(serve):
    _, client = serve(status(200, b"\x1f\x8b", Content_Encoding="gzip"), OK)
    assert client.ask("/x", {}) == {"a": 1}


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"3", b"", b"[" * 900])
def test_what_is_no_object_is_one_message(serve, content):
    _, client = serve(status(200, content))
    with pytest.raises(ModelError, match="no JSON object"):
        client.ask("/x", {})


def test_waits_end_with_the_work(serve):
    server, client = serve(status(429, Retry_After="60"))

    def ask(item):
        if item:
            return client.ask("/x", {})
        while not server.bodies:
            time.sleep(0.01)
        raise ModelError("another failed")

    begin = time.monotonic()
    with pytest.raises(ModelError, match="another failed"):
        list(client.answers([0, 1], ask, at_once=2))
    assert time.monotonic() - begin < 30
    assert len(server.bodies) == 1


def test_what_a_caller_raises_before_a_request_is_passed_on(serve):
    def full(repeated):
        raise ModelError("too many")

    server, client = serve(OK, before_sending=full)
    with pytest.raises(ModelError, match="too many"):
        client.ask("/x", {})
    assert server.bodies == []


def test_only_what_a_request_needs_is_sent(serve, monkeypatch):
    for name in ("API_KEY", "ORG_ID", "PROJECT_ID", "BASE_URL"):
        monkeypatch.setenv(f"OPENAI_{name}", "of-another-service")
    server, client = serve(OK, key="")
    seen = []
    plain = server.http.RequestHandlerClass

    class Seeing(plain):
        def do_POST(self):
            seen.append(dict(self.headers))
            super().do_POST()

    server.http.RequestHandlerClass = Seeing
    client.ask("/x", {})
    assert "of-another-service" not in str(seen)
    assert {name.lower() for name in seen[0]} == {
        *("host", "accept", "accept-encoding", "connection", "content-type", "content-length"),
        "x-stainless-retry-count",
    }


def test_a_key_is_sent_as_a_bearer(serve):
    server, client = serve(OK, key="sk-1")
    client.ask("/x", {})
    assert server.keys == ["Bearer sk-1"]


def test_a_proxy_of_the_environment_is_used(serve, monkeypatch):
    proxy, _ = serve(OK)
    monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
    monkeypatch.setenv("NO_PROXY", "")
    _, client = serve(OK, url=lambda _: "http://a-server-that-is-nowhere.invalid/v1")
    assert client.ask("/x", {}) == {"a": 1}
    assert proxy.paths == ["http://a-server-that-is-nowhere.invalid/v1/x"]


@pytest.mark.parametrize("key", ["line\nend", "tab\t", "schlüssel", "\x1b[0m"])
def test_a_key_that_no_header_holds_is_refused_by_its_variable(serve, key):
    with pytest.raises(ConfigError, match="THE_KEY") as raised:
        serve(OK, key=key)
    assert key not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b'{"error": {"code": "bad_key"}}', "HTTP 400, bad_key"),
        (b'{"error": {"code": "you sent: this"}}', "HTTP 400"),
        (b'{"error": {"type": ["x"]}}', "HTTP 400"),
        (b'{"error": "you sent this"}', "HTTP 400"),
        (b"\xff\x00", "HTTP 400"),
        (b"[" * 900, "HTTP 400"),
    ],
)
def test_only_a_word_of_the_server_is_shown(serve, content, shown):
    _, client = serve(status(400, content))
    with pytest.raises(ModelError, match=re.escape(f"({shown})")):
        client.ask("/x", {})


@given(st.binary(max_size=200), st.sampled_from([400, 401, 404, 503]))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_error_is_one_message(serve, content, number):
    _, client = serve(status(number, content))
    with pytest.raises(SafeReActError, match=f"HTTP {number}"):
        client.ask("/x", {})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://localhost:8000/v1", "localhost:8000"),
        ("https://user:secret@host/v1?key=secret#secret", "host:https"),
        ("HTTP://Host", "host:http"),
        ("http://secret@[::1]:80/v1", "[::1]:80"),
        ("http://user:sec@ret@host:1/v1", "host:1"),
    ],
)
def test_host_and_port_are_shown(url, shown):
    assert is_address(url)
    assert server_of(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "", "localhost:8000", "ftp://host", "http://", "http:///v1", "http://[::1/v1", "http://[x]/",
        "http://host:port/v1", "http://host:0/v1", "http://host:99999/v1", "http://host\x1b/v1",
        "http://host/\x07", "http://\ud800/v1",
    ],
)  # fmt: skip
def test_what_no_request_can_be_sent_to_is_no_address(url):
    assert not is_address(url)
