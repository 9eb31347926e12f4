"""The commands. Importing a module of them puts them into the application, in this order."""

from __future__ import annotations

from flows.cli import chain, choosing, releasing, studying
from flows.cli.app import app

__all__ = ["app", "chain", "choosing", "releasing", "studying"]
