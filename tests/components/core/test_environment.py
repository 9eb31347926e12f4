"""What a process that computes sees."""

from __future__ import annotations

import os

from components.core.environment import settle_environment


def test_defaults_are_set_and_what_is_there_stays(monkeypatch):
    monkeypatch.setattr(os, "environ", {"OMP_NUM_THREADS": "7"})
    settle_environment()
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"


def test_vllm_sends_nothing_whatever_the_word_for_no_is(monkeypatch):
    """vLLM takes DO_NOT_TRACK for set only where it is 1."""
    monkeypatch.setattr(os, "environ", {"DO_NOT_TRACK": "true"})
    settle_environment()
    assert os.environ["VLLM_NO_USAGE_STATS"] == "1"
