"""Two workers of a real local cluster write the rows of one process, also when one of them dies."""

from __future__ import annotations

import os
from functools import partial

import pytest

from components.errors import ConfigError, InterruptionError, ModelError
from components.lm.engines.opening import open_host
from components.lm.engines.protocol import Request, collect
from components.lm.engines.ray_shards import RayWorkers
from components.lm.generation import checkpoint_end_tokens
from components.lm.loading import checkpoint_folder, load_tokenizer
from tests.components.lm.engines.models import Mortal

ASKED = [
    Request((1, *range(20, 21 + i % 7)), 6, samples=2, temperature=0.9, seed=i) for i in range(12)
]


@pytest.fixture(scope="module")
def folder(random_models):
    return checkpoint_folder(random_models, random_models.base)


@pytest.fixture
def cluster(monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("SAFEREACT_RAY_ADDRESS", "local")
    monkeypatch.setenv("SAFEREACT_RAY_WORKERS", "2")


@pytest.mark.slow
def test_two_workers_write_the_same_rows_and_one_may_die(folder, cluster, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.delenv("SAFEREACT_RAY_ADDRESS")
        with open_host(folder, batch=4) as host:
            expected = collect(host.engine("base", None), ASKED, label="alone")
    with open_host(folder, batch=4) as host:
        engine = host.engine("base", None)
        assert engine.name == "transformers"
        assert collect(engine, ASKED, label="shards") == expected

    tokenizer, mark = load_tokenizer(folder), tmp_path / "died"
    ends = checkpoint_end_tokens(folder, tokenizer)
    workers = RayWorkers(partial(Mortal, folder, mark), name="transformers", ends=ends)
    try:
        assert collect(workers.engine("base", None), ASKED, label="shards") == expected
    finally:
        workers.close()
    assert mark.is_file()
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


@pytest.mark.slow
def test_a_checkpoint_that_no_worker_can_load_is_named(cluster, tmp_path):
    from components.lm.engines.opening import InMemory

    load = partial(InMemory, tmp_path, batch=4)
    workers = RayWorkers(load, name="transformers", ends=frozenset())
    try:
        with pytest.raises(ModelError, match="cannot load the checkpoint"):
            collect(workers.engine("base", None), ASKED, label="shards")
    finally:
        workers.close()


@pytest.fixture
def one_core(monkeypatch):
    """The address of a cluster with one core, whose environment is that of this moment."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    settings = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args=settings)
    monkeypatch.setenv("SAFEREACT_RAY_ADDRESS", cluster.address)
    yield cluster
    cluster.shutdown()


@pytest.mark.slow
def test_more_workers_than_the_cluster_has_are_not_waited_for_for_ever(one_core, monkeypatch):
    import ray

    monkeypatch.setenv("SAFEREACT_RAY_WORKERS", "3")
    told = (
        "3 Ray workers need a CPU each, and in 2 s the cluster did not give them: it has CPU 1, "
        "GPU 0, and free are CPU 1, GPU 0; set SAFEREACT_RAY_WORKERS to fewer"
    )
    with pytest.raises(InterruptionError, match=told):
        RayWorkers(lambda: None, name="transformers", ends=frozenset(), patience=2)
    assert not ray.is_initialized()


@pytest.mark.slow
def test_workers_compute_on_the_device_and_in_the_precision_of_who_asks(
    one_core, folder, monkeypatch
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


def test_ray_must_be_installed(folder, monkeypatch):
    import sys

    monkeypatch.setenv("SAFEREACT_RAY_ADDRESS", "local")
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(ConfigError, match=r"pip install 'safereact-ops\[ray\]'"),
        open_host(folder, batch=4),
    ):
        pass
