"""Reports to be written: their inputs, saved once a session."""

from __future__ import annotations

import pytest

from tests.components.report.cases import HOSTILE, Case, make_case


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """An accepted adapter with everything measured."""
    return make_case(tmp_path_factory.mktemp("good") / "in")


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A refused adapter with markup and control characters in every free text."""
    return make_case(tmp_path_factory.mktemp("hostile") / "in", strange=HOSTILE, accepted=False)
