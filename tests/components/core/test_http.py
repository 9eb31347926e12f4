"""One retry policy: which answers are asked for again, how long is waited, and when it ends."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.errors import ConfigError
from components.core.http import (
    LONGEST_WAIT,
    HugeAnswerError,
    NoAnswerError,
    UnavailableError,
    ask_again,
    authorization,
    describe,
    exchange,
    seconds_to_wait,
)


def answered(status=200, content=b"{}", headers=()):
    transport = httpx.MockTransport(
        lambda request: httpx.Response(status, content=content, headers=dict(headers))
    )
    with httpx.Client(transport=transport) as client:
        return exchange(client, "GET", "http://server/v1", limit=100, seconds=5)


def asked(*failures, attempts=4, first_wait=0.01, ended=None):
    """Return the times at which a server was asked that fails so before it answers."""
    times = []

    def send(number):
        times.append(time.monotonic())
        assert number == len(times)
        if number <= len(failures):
            raise failures[number - 1]
        return "answer"

    ended = ended or threading.Event()
    answer = ask_again(send, attempts=attempts, first_wait=first_wait, ended=ended, label="test")
    assert answer == "answer"
    return times


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520, 529])
def test_a_busy_or_failing_server_is_worth_another_request(status):
    with pytest.raises(UnavailableError, match=f"HTTP {status}") as raised:
        answered(status, headers={"Retry-After": "7"}.items())
    assert raised.value.wait == 7


@pytest.mark.parametrize("status", [200, 204, 301, 400, 401, 403, 404, 413, 422, 501, 505, 511])
def test_any_other_status_is_final(status):
    assert answered(status) == (status, b"{}")


def test_an_answer_without_end_is_not_read_to_it():
    def endless():
        while True:
            yield b"x" * 64

    with pytest.raises(HugeAnswerError):
        answered(content=endless())


def test_connections_that_fail_and_busy_servers_are_asked_again():
    assert len(asked(httpx.ConnectError("x"), UnavailableError("busy"), httpx.ReadTimeout(""))) == 4


def test_waits_grow_twofold():
    times = asked(*[UnavailableError("busy")] * 3, first_wait=0.1)
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert all(wait >= least for wait, least in zip(waits, (0.1, 0.2, 0.4), strict=True))


def test_requests_that_failed_together_come_back_apart():
    waits = []
    for _ in range(5):
        first, second = asked(UnavailableError("busy", 0.1), first_wait=0.2)
        waits.append(second - first)
    assert min(waits) >= 0.1, "sooner than the server asked for"
    assert max(waits) - min(waits) > 0.01


def test_no_request_is_sent_after_the_last():
    with pytest.raises(NoAnswerError, match=r"after 2 requests \(busy\)"):
        asked(*[UnavailableError("busy")] * 9, attempts=2)


def test_a_server_that_asks_for_too_long_a_wait_is_asked_once():
    with pytest.raises(NoAnswerError, match=r"after 1 request \(busy, and it asks to wait 301 s"):
        asked(UnavailableError("busy", LONGEST_WAIT + 1))


def test_a_wait_ends_with_the_work():
    ended = threading.Event()
    threading.Timer(0.1, ended.set).start()
    begin = time.monotonic()
    with pytest.raises(NoAnswerError, match="the work has ended"):
        asked(UnavailableError("busy", 60), ended=ended)
    assert time.monotonic() - begin < 5


def test_other_errors_are_not_repeated():
    with pytest.raises(KeyError):
        asked(KeyError("ours"))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120), (" 7 ", 7), ("1.5", 1.5), ("99999999999", 99999999999), ("", 0), ("soon", 0),
        ("-3", 0), ("nan", 0), ("١٢", 0), ("Wed, 21 Oct 2015 07:28:00", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
    ],
)  # fmt: skip
def test_the_seconds_of_a_retry_after_header(header, seconds):
    assert seconds_to_wait(header) == seconds


def test_a_retry_after_header_may_be_a_date():
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 55 < seconds_to_wait(later) <= 60


@given(st.text())
def test_any_header_gives_a_wait(header):
    assert seconds_to_wait(header) >= 0


@given(st.binary(max_size=200))
def test_any_error_is_described_by_its_status(content):
    assert describe(503, content).startswith("HTTP 503")


def test_only_a_word_of_the_server_is_shown():
    assert describe(400, b'{"error": {"code": "bad_key"}}') == "HTTP 400, bad_key"
    assert describe(400, b'{"error": {"code": "you sent: this"}}') == "HTTP 400"
    assert describe(400, b"[" * 100_000) == "HTTP 400"


@pytest.mark.parametrize("key", ["line\nend", "tab\t", "schlüssel", "\x1b[0m"])
def test_a_key_that_no_header_holds_is_refused_by_its_variable(key):
    with pytest.raises(ConfigError, match="THE_KEY") as raised:
        authorization(key, variable="THE_KEY")
    assert key not in str(raised.value)


def test_a_key_is_sent_as_a_bearer():
    assert authorization("sk-1", variable="K") == {"Authorization": "Bearer sk-1"}
    assert authorization(None, variable="K") == {}
