"""What a process that computes sees."""

from __future__ import annotations

import os

from components.core.environment import settle_environment


def test_defaults_are_set_and_what_is_there_stays(monkeypatch):
    monkeypatch.setattr(os, "environ", {"OMP_NUM_THREADS": "7"})
    settle_environment()
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
