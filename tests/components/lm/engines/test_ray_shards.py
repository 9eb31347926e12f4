"""Two workers of a real local cluster write the rows of one process, also when one of them dies,
and what they have handed on is written once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest

from components.core.errors import ConfigError, InterruptionError, ModelError
from components.lm.engines.finished import FinishedRequests
from components.lm.engines.hosts import open_host
from components.lm.engines.protocol import Request, collect
from components.lm.engines.ray_shards import RayHost
from components.lm.generation import checkpoint_end_tokens
from components.lm.loading import checkpoint_folder, load_tokenizer
from tests.components.lm.engines.models import Noting
from tests.root import ROOT

SAMPLES = 2
ASKED = [
    Request((1, *range(20, 21 + i % 7)), 6, samples=SAMPLES, temperature=0.9, seed=i)
    for i in range(48)
]


@pytest.fixture(scope="module")
def folder(random_models):
    return checkpoint_folder(random_models, random_models.base)


@pytest.fixture
def cluster(monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("SAFEREACT_RAY_ADDRESS", "local")
    monkeypatch.setenv("SAFEREACT_RAY_WORKERS", "2")


@pytest.fixture(scope="module")
def expected(folder):
    """What one process writes."""
    with open_host(folder, batch=4) as host:
        return collect(host.engine("base", None), ASKED, label="alone")


def workers_of(folder: Path, log: Path, **settings) -> RayHost:
    """Return workers that note in `log` what they finish."""
    ends = checkpoint_end_tokens(folder, load_tokenizer(folder))
    return RayHost(partial(Noting, folder, log, **settings), ends)


@pytest.mark.slow
def test_two_workers_write_the_same_rows_and_one_may_die(
    expected, folder, cluster, tmp_path, caplog
):
    with open_host(folder, batch=4) as host:
        engine = host.engine("base", None)
        assert engine.name == "transformers"
        assert collect(engine, ASKED, label="shards") == expected

    log, mark = tmp_path / "log", tmp_path / "died"
    workers = workers_of(folder, log, mark=mark)
    try:
        assert collect(workers.engine("base", None), ASKED, label="shards") == expected
    finally:
        workers.close()
    assert mark.is_file()
    assert caplog.text.count("a Ray worker died") == 1
    # The one group that the dead worker had in its hands, at most its batch of two completions.
    noted = Counter(log.read_text().splitlines())
    assert noted.keys() == {request.key for request in ASKED}
    assert SAMPLES * sum(count - 1 for count in noted.values()) == 2
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def resumed(engine, path: Path):
    with FinishedRequests(path) as finished:
        return collect(finished.resume(engine, "model a"), ASKED, label="resumed")


def begin(folder: str, path: str, log: str) -> None:
    """Write on two workers: what the killed process below does."""
    workers = workers_of(Path(folder), Path(log), pause=0.1)
    resumed(workers.engine("base", None), Path(path))


@pytest.mark.slow
def test_a_killed_run_asks_for_nothing_that_was_handed_on(expected, folder, two_workers, tmp_path):
    path, log = tmp_path / "finished.jsonl", tmp_path / "log"
    code = (
        "import sys; from tests.components.lm.engines.test_ray_shards import begin;"
        "begin(*sys.argv[1:])"
    )
    child = subprocess.Popen([sys.executable, "-c", code, folder, path, log], cwd=ROOT)
    while child.poll() is None and (not path.is_file() or path.read_bytes().count(b"\n") < 4):
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    # Fewer than the six of one chunk from each of the two workers: nothing waits for its chunk.
    handed_on = path.read_bytes().count(b"\n")
    assert 4 <= handed_on < 12
    again = tmp_path / "again"
    assert resumed(Noting(folder, again).engine("base", None), path) == expected
    asked_again = again.read_text().splitlines()
    assert len(asked_again) == len(set(asked_again)) == len(ASKED) - handed_on
    # Of what the killed workers finished, all but what was on its way was kept: of each the group
    # that it handed on and the one that it wrote ahead.
    assert len(set(log.read_text().splitlines()) & set(asked_again)) <= 2 * 2


@pytest.mark.slow
def test_a_checkpoint_that_no_worker_can_load_is_named(two_workers, tmp_path):
    from components.lm.engines.hosts import InMemory

    load = partial(InMemory, tmp_path, batch=4)
    workers = RayHost(load, frozenset())
    try:
        with pytest.raises(ModelError, match="has no tokenizer"):
            collect(workers.engine("base", None), ASKED, label="shards")
    finally:
        workers.close()


@pytest.mark.slow
def test_workers_that_ray_ends_for_want_of_memory_are_dead_ones(cluster, folder, monkeypatch):
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.01")
    with (
        pytest.raises(InterruptionError, match=r"3 Ray workers died(?s:.*)memory"),
        open_host(folder, batch=4) as host,
    ):
        collect(host.engine("base", None), ASKED, label="shards")


@pytest.mark.slow
def test_more_workers_than_the_cluster_has_are_not_waited_for_for_ever(two_workers, monkeypatch):
    import ray

    monkeypatch.setenv("SAFEREACT_RAY_WORKERS", "3")
    told = (
        "3 Ray workers need a CPU each, and in 2 s the cluster did not give them: it has CPU 2, "
        "GPU 0, and free are CPU [012], GPU 0; set SAFEREACT_RAY_WORKERS to fewer"
    )
    with pytest.raises(InterruptionError, match=told):
        RayHost(lambda: None, frozenset(), patience=2)
    assert not ray.is_initialized()


@pytest.mark.slow
def test_workers_compute_on_the_device_and_in_the_precision_of_who_asks(
    two_workers, folder, monkeypatch
):
    monkeypatch.setenv("SAFEREACT_PRECISION", "bfloat16")
    with monkeypatch.context() as patch:
        patch.delenv("SAFEREACT_RAY_ADDRESS")
        with open_host(folder, batch=4) as host:
            expected = collect(host.engine("base", None), ASKED, label="alone")
    with open_host(folder, batch=4) as host:
        assert collect(host.engine("base", None), ASKED, label="shards") == expected


def test_a_number_of_workers_that_is_none_is_refused(cluster, folder, monkeypatch):
    monkeypatch.setenv("SAFEREACT_RAY_WORKERS", "none")
    with pytest.raises(ConfigError, match="not 'none'"), open_host(folder, batch=4):
        pass


def test_a_cluster_that_does_not_start_in_time_is_one_message(cluster, folder, monkeypatch):
    import ray

    def slow(*_, **__):
        raise Exception("The current node timed out during startup.")  # what Ray 2.60 raises

    monkeypatch.setattr(ray, "init", slow)
    with (
        pytest.raises(InterruptionError, match=r"ADDRESS=local: .*timed out.*less busy"),
        open_host(folder, batch=4),
    ):
        pass


@pytest.mark.skipif(find_spec("grpc") is not None, reason="the package is installed")
def test_an_address_that_needs_another_package_names_it(cluster, folder, monkeypatch):
    monkeypatch.setenv("SAFEREACT_RAY_ADDRESS", "ray://127.0.0.1:1")
    with (
        pytest.raises(ConfigError, match=r"ADDRESS=ray://127.0.0.1:1: .*ray\[client\]"),
        open_host(folder, batch=4),
    ):
        pass


def test_ray_must_be_installed(folder, monkeypatch):
    import sys

    monkeypatch.setenv("SAFEREACT_RAY_ADDRESS", "local")
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(ConfigError, match=r"pip install 'safereact-ops\[ray\]'"),
        open_host(folder, batch=4),
    ):
        pass
