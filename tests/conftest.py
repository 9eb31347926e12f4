"""Fixtures that every test may use: a random pair of checkpoints and a prepared set of prompts."""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

os.environ.update(
    {
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DVC_NO_ANALYTICS": "1",
        "GX_ANALYTICS_ENABLED": "false",
        # A local cluster asks for a token, and then its process would ask a later one for it, too.
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
)
# Processes that tests start run one code again and again, which is compiled once.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# How long an example takes says how busy the machine is.
settings.register_profile(
    "any machine", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")
gc.disable()  # until the tests begin: importing them leaves nothing to collect
# A shell that starts the tests in the background lets them ignore Ctrl-C and Ctrl-\\, `nohup` the
# closing of the terminal, and so would every process that they start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the number of runs that `make test-chaos` kills."""
    parser.addoption("--kills", type=int, default=25, help="how many runs are killed (chaos)")


# Where tests take long: first, so that no process is left alone with them in the end.
LONG = ("tests/test_chain.py", "tests/flows", "tests/components/registry", "tests/components/train")


@pytest.hookimpl(trylast=True)  # after the files came into another order
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long; let no collector go through what was imported."""

    def rank(item: pytest.Item) -> int:
        return next((k for k, place in enumerate(LONG) if item.nodeid.startswith(place)), len(LONG))

    items.sort(key=rank)
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Iterator[Any]:
    """Let no lone surrogate among what a test logged or compared end the process of the test:
    they cannot be handed over to the one that reports."""
    return _utf8((yield))


def _utf8(part: Any) -> Any:
    if isinstance(part, str):
        return part.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(part, dict):
        return {_utf8(key): _utf8(value) for key, value in part.items()}
    return type(part)(_utf8(each) for each in part) if isinstance(part, list | tuple) else part


@pytest.fixture(autouse=True, scope="module")
def less_garbage() -> None:
    """Let the collector, which the code under test calls between models, pass over what all the
    libraries hold: else each call takes a good part of a second."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def whatever_ran_before() -> Iterator[None]:
    """Begin each test with the same global generators, and take back what it does to its process:
    the code under test settles the environment of processes that it has for itself."""
    random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    environment, mask = dict(os.environ), os.umask(0o022)
    os.umask(mask)
    yield
    os.umask(mask)
    if os.environ != environment:
        os.environ.clear()
        os.environ.update(environment)


@pytest.fixture(scope="session")
def random_models(tmp_path_factory: pytest.TempPathFactory):
    """The result `Models` of two random Llama checkpoints of one lineage."""
    from components.lm.loading import describe_checkpoint
    from components.models.result import Models
    from tests.checkpoints import write_checkpoint

    folder = tmp_path_factory.mktemp("models")
    refs = [
        describe_checkpoint(
            write_checkpoint(folder / name, seed=seed), location=name, where="stage"
        )
        for seed, name in enumerate(("base", "post-trained"))
    ]
    models = Models(base=refs[0], post_trained=refs[1], lineage="random", same_lineage=True)
    return models.save(folder)


@pytest.fixture(scope="session")
def random_prompts(tmp_path_factory: pytest.TempPathFactory):
    """A `SuiteSet` of 12 prompts a role and split in the vocabulary of the random models."""
    from components.core.vocabulary import Prompt, Role, Split
    from components.prepare.result import SourceCount
    from tests.checkpoints import WORDS
    from tests.prepared import save_prompts

    rows, number = [], 0
    for split in Split:
        for role in Role:
            for i in range(12):
                number += 1
                words = [WORDS[(7 * number + 3 * k) % 40] for k in range(4 + i % 3)]
                reasoning = role is Role.REASONING
                rows.append(
                    Prompt(
                        id=f"{number:016x}",
                        text=f"{' '.join(words)} {number % 16} ?",
                        role=role,
                        topic=f"{split}-{i % 4}",
                        source="test",
                        licence="Apache-2.0",
                        split=split,
                        answer=str(number % 16) if reasoning else None,
                        thought="one plus two equals three ." if reasoning else None,
                        response="sorry can not help with that ."
                        if role is Role.HARMFUL
                        else f"answer is {number % 16} .",
                    )
                )
    counts = {split: dict.fromkeys(Role, 12) for split in Split}
    source = SourceCount(
        name="test", licence="Apache-2.0", digest="0" * 64, read=144, kept=144, quarantined=0
    )
    folder: Path = tmp_path_factory.mktemp("prompts")
    return save_prompts(folder, rows, digest_of_prompts="0" * 64, sources=(source,), counts=counts)


@pytest.fixture(scope="module")
def ray_address() -> Iterator[str]:
    """The address of a Ray cluster of two cores, whose environment is that of before the tests."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    own = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args=own)
    yield cluster.address
    cluster.shutdown()


@pytest.fixture
def two_workers(ray_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let work be done in two workers of that cluster."""
    monkeypatch.setenv("SAFEREACT_RAY_ADDRESS", ray_address)
    monkeypatch.setenv("SAFEREACT_RAY_WORKERS", "2")
