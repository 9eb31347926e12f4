"""In-process engines in several Ray workers, on one machine or many; the rows are the same.

Every worker loads the checkpoint once and takes small chunks of requests as it gets free, so that
a slow one holds up nobody. It hands on what is finished at once; what a worker that died had not
handed on is asked again of a new one.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from components.core.errors import ConfigError, InterruptionError, ModelError
from components.lm.batches import by_length
from components.lm.engines.protocol import Completions, Engine, Groups, Host, Request

log = logging.getLogger(__name__)

ADDRESS, WORKERS = "SAFEREACT_RAY_ADDRESS", "SAFEREACT_RAY_WORKERS"
_CHUNKS = 4  # a worker, so that the last ones to finish are not far apart
_DEATHS = 3  # workers that one chunk may cost
_PATIENCE = 300.0  # seconds; a cluster that grows on demand takes minutes to do so
_STORE = 100 << 20  # bytes of shared memory for a local cluster: only token ids pass through it


class RayHost:
    """Workers that each hold one checkpoint; `load` is what each calls once, on its machine.

    `ends` are the tokens that end a completion. Raises `InterruptionError` where the cluster has no
    room for all workers within `patience` seconds.
    """

    def __init__(
        self, load: Callable[[], Host], ends: frozenset[int], *, patience: float = _PATIENCE
    ) -> None:
        self._ray = _connected()
        self._load, self._ends, self._patience = load, ends, patience
        self._workers: list[Any] = []
        self._room: Any = None
        try:
            self._take_room()
            self._workers = [self._start() for _ in range(self._count)]
        except BaseException:
            self.close()
            raise
        log.info("%d Ray workers", self._count)

    def engine(self, arm: str, adapter: Path | None) -> Engine:
        """Return the engine of the checkpoint with the adapter in a folder, or without one."""
        return Engine("transformers", self._ends, partial(self._write, arm, adapter))

    def close(self) -> None:
        """End the workers, and the cluster where it is one of this process."""
        for worker in self._workers:
            self._ray.kill(worker)
        if self._room is not None:
            self._ray.util.remove_placement_group(self._room)
        self._ray.shutdown()

    def _write(self, arm: str, adapter: Path | None, requests: Sequence[Request]) -> Groups:
        waiting = deque((indices, 0) for indices in _chunks(requests, self._count))
        idle, failures = list(self._workers), self._ray.exceptions
        # By the reply that comes next: its worker, the reply after it, what is left, and deaths.
        busy: dict[Any, tuple[Any, Any, list[int], int]] = {}
        while waiting or busy:
            while waiting and idle:
                worker, (left, deaths) = idle.pop(), waiting.popleft()
                chunk = {i: requests[i] for i in left}
                reply = worker.write.remote(arm, adapter, chunk)
                busy[reply] = worker, worker.more.remote(), left, deaths
            ready, _ = self._ray.wait(list(busy), num_returns=1)
            worker, following, left, deaths = busy.pop(ready[0])
            try:
                group: dict[int, Completions] = self._ray.get(ready[0])
            except (failures.RayActorError, failures.ObjectLostError) as error:  # it is gone
                waiting.appendleft((left, deaths + 1))
                idle.append(self._replaced(worker, deaths + 1, error))
                continue
            except failures.RayTaskError as error:
                raise error.cause from error
            left = [i for i in left if i not in group]
            if left and group:
                busy[following] = worker, worker.more.remote(), left, deaths
            else:
                idle.append(worker)
            yield group

    def _take_room(self) -> None:
        """Reserve the workers' places, all together."""
        cluster = self._ray.cluster_resources()
        self._kind = "GPU" if cluster.get("GPU", 0) >= 1 else "CPU"
        self._count = _worker_count(int(cluster.get(self._kind, 1)))
        # Spread, since every worker fills memory, of which Ray knows nothing.
        self._room = self._ray.util.placement_group(
            [{"CPU": 1, self._kind: 1}] * self._count, strategy="SPREAD"
        )
        self._await_room()

    def _await_room(self) -> None:
        """Raise `InterruptionError` where the cluster does not give the workers their room in time.

        Without a limit a worker would wait for ever for what the cluster does not have.
        """
        log.info("waiting for room for %d Ray workers, %g s at most", self._count, self._patience)
        if self._room.wait(self._patience):
            return
        has, free = (
            ", ".join(f"{kind} {resources.get(kind, 0):g}" for kind in ("CPU", "GPU"))
            for resources in (self._ray.cluster_resources(), self._ray.available_resources())
        )
        raise InterruptionError(
            f"{self._count} Ray workers need a CPU{' and a GPU' * (self._kind == 'GPU')} each, and "
            f"in {self._patience:g} s the cluster did not give them: it has {has}, and free are "
            f"{free}; set {WORKERS} to fewer, or wait until others are done"
        )

    def _start(self) -> Any:
        strategy = self._ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy
        actor = self._ray.remote(_Worker).options(
            num_cpus=1,
            num_gpus=int(self._kind == "GPU"),
            scheduling_strategy=strategy(self._room),
        )
        return actor.remote(self._load)

    def _replaced(self, worker: Any, deaths: int, error: Any) -> Any:
        """Return a new worker in the place of one that died."""
        if getattr(error, "actor_init_failed", False):
            raise ModelError(f"a Ray worker cannot load the checkpoint: {error}") from error
        if deaths >= _DEATHS:
            raise InterruptionError(
                f"{deaths} Ray workers died of the same requests; what was finished before is "
                f"kept. Is there memory enough for one checkpoint a worker? Ray says: {error}"
            ) from error
        log.warning("a Ray worker died; what it had not handed on is asked again")
        self._ray.kill(worker)  # one that is only out of reach would keep its place
        self._await_room()  # its machine may be gone, and its room with it
        self._workers[self._workers.index(worker)] = new = self._start()
        return new


class _Worker:
    """A process of the cluster with the checkpoint in its memory.

    It is asked for one group after the other, and no stream is opened: Ray's own streams are not
    to be had over an address with ray://.
    """

    def __init__(self, load: Callable[[], Host]) -> None:
        self._host = load()
        self._indices: list[int] = []
        self._groups: Groups = iter(())

    def write(
        self, arm: str, adapter: Path | None, requests: Mapping[int, Request]
    ) -> dict[int, Completions]:
        """Return the first requests that are finished, by their index; `more` has the others."""
        self._indices = list(requests)
        self._groups = self._host.engine(arm, adapter).write(list(requests.values()))
        return self.more()

    def more(self) -> dict[int, Completions]:
        """Return what is finished next, by its index; nothing where all was handed on."""
        return {self._indices[i]: samples for i, samples in next(self._groups, {}).items()}


def _connected() -> Any:
    """Return ray, connected to the cluster that `SAFEREACT_RAY_ADDRESS` names.

    `local` starts one on this machine that ends with this process. Raises `ConfigError` where ray
    is not installed or the address is none, and `InterruptionError` where no cluster answers.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            f"{ADDRESS} is set, and ray is not installed: pip install 'safereact-ops[ray]', or "
            f"unset {ADDRESS}"
        ) from error
    address = os.environ[ADDRESS]
    own: dict[str, Any] = {}
    if address == "local":
        own = {"num_cpus": _worker_count(os.cpu_count() or 1), "object_store_memory": _STORE}
    try:
        ray.init(address, include_dashboard=False, log_to_driver=False, **own)
    except (ConnectionError, RuntimeError) as error:
        raise InterruptionError(
            f"{ADDRESS}={address}: no Ray cluster answers there ({error}); start one with "
            "`ray start --head`, or say local"
        ) from error
    except ValueError as error:  # no address, or one that needs a package more
        raise ConfigError(f"{ADDRESS}={address}: {error}") from error
    return ray


def _worker_count(most: int) -> int:
    named = os.environ.get(WORKERS)
    if named is None:
        return max(most, 1)
    if not named.isdigit() or named == "0":
        raise ConfigError(f"{WORKERS} must be a number of workers, 1 or more, not {named!r}")
    return int(named)


def _chunks(requests: Sequence[Request], workers: int) -> list[list[int]]:
    """Return the requests' indices in chunks of similar prompts, the longest first."""
    size = max(1, -(-len(requests) // (workers * _CHUNKS)))
    return list(by_length([request.prompt for request in requests], size))
