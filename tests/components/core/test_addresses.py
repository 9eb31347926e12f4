"""Addresses that can be asked, and what of them is shown."""

from __future__ import annotations

import pytest

from components.core.addresses import is_address, server_of


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
