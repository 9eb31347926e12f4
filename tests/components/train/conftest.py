"""One adapter of the random pair, trained with quick settings."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from components.train.result import Adapter


@pytest.fixture(scope="session")
def adapter(run_stage: Callable[..., Adapter]) -> Adapter:
    """The result of one run with the quick settings."""
    return run_stage()
