"""A random guard of every kind."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def guards(tmp_path_factory):
    """Kind -> the opened guard."""
    from components.judges.formats import FORMATS
    from components.judges.guards import open_guard
    from tests.components.judges.guards import guard_settings, write_guard

    folder = tmp_path_factory.mktemp("guards")
    return {
        kind: open_guard(guard_settings(kind, write_guard(folder / kind, kind)), "mine")
        for kind in FORMATS
    }
