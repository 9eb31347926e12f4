"""A random model, and prompts to put to it."""

from __future__ import annotations

import pytest
import torch

from components.lm.loading import load_model, load_tokenizer
from components.probe.answers import Loaded
from tests.checkpoints import write_checkpoint


@pytest.fixture
def random_model(random_models):
    """The random base model and its tokenizer, on the CPU."""
    folder = random_models.folder / random_models.base.location
    return Loaded(load_model(folder, device=torch.device("cpu")), load_tokenizer(folder), batch=2)


@pytest.fixture
def small_model(tmp_path):
    """A random Llama of two layers whose weights a test may change."""
    folder = write_checkpoint(tmp_path / "small", hidden=16, layers=2)
    return load_model(folder, device=torch.device("cpu"))
