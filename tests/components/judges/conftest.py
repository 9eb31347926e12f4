"""A random guard of every kind."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def guards(tmp_path_factory):
    """Kind -> the opened guard."""
    from components.judges.formats import FORMATS
    from components.judges.guards import open_guard
    from tests.components.judges.guards import write_guard

    folder = tmp_path_factory.mktemp("guards")
    return {
        kind: open_guard(
            form,
            kind=kind,
            label="mine",
            model=str(write_guard(folder / kind, kind)),
            revision=None,
            batch=4,
            max_characters=1500,
        )
        for kind, form in FORMATS.items()
    }
