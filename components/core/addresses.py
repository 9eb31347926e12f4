"""The addresses of servers: whether one can be asked, and what of it may be shown."""

from __future__ import annotations

from urllib.parse import urlsplit


def is_address(url: str) -> bool:
    """Return whether `url` is an http(s) address that a request can be sent to."""
    import httpx2

    try:
        parts, host = urlsplit(url), httpx2.URL(url).host
        return parts.scheme in ("http", "https") and bool(host) and parts.port != 0
    except (ValueError, httpx2.InvalidURL):  # brackets, a port or characters that are none
        return False


def server_of(url: str) -> str:
    """Return the host and the port of an address, or the scheme where it names no port.

    User, password, path and query, where secrets may stand, are left out.
    """
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or parts.scheme}"
