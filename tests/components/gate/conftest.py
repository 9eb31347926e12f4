"""An adapter with files, and evidence of it that the default policy accepts."""

from __future__ import annotations

import pytest

from components.core.storage import digest_folder
from components.prepare.result import SuiteSet
from tests.components.gate.cases import SUITES, evidence_of
from tests.evidence import DATA, TESTS, make_models, no_leaks, save_adapter


@pytest.fixture(scope="package")
def models():
    """Two checkpoints that are nowhere: the gate compares their digests."""
    return make_models()


@pytest.fixture(scope="package")
def prompts():
    """A prepared set without its table: the gate looks at its digest and its leaks."""
    return SuiteSet(
        digest_of_prompts=DATA,
        digest_of_tests=TESTS,
        sources=(),
        counts={},
        expectations=0,
        overlap={},
        leaks=no_leaks(SUITES),
    )


@pytest.fixture(scope="package")
def adapter(tmp_path_factory, models, prompts):
    folder = tmp_path_factory.mktemp("train")
    for name in ("adapter", "baseline"):
        (folder / name).mkdir()
        (folder / name / "adapter_model.safetensors").write_text(name)
    digests = (digest_folder(folder / "adapter"), digest_folder(folder / "baseline"))
    return save_adapter(folder, digests, models.post_trained, data=prompts.digest_of_prompts)


@pytest.fixture
def good(adapter):
    return evidence_of(adapter)
