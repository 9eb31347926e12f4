"""Processes of a Ray cluster, on one machine or many, that share out work.

Every worker loads once what it works with, and takes small chunks of the work as it gets free, so
that a slow one holds up nobody. It hands on what is finished at once; what a worker that died had
not handed on is asked again of a new one.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, Generic, TypeVar

from components.core.errors import ConfigError, InterruptionError

log = logging.getLogger(__name__)

ADDRESS, WORKERS = "SAFEREACT_RAY_ADDRESS", "SAFEREACT_RAY_WORKERS"
_DEATHS = 3  # workers that one chunk may cost
PATIENCE = 300.0  # seconds; a cluster that grows on demand takes minutes to do so
_STORE = 100 << 20  # bytes of shared memory for a local cluster: no weights pass through it

Held = TypeVar("Held")
Item = TypeVar("Item")
Done = TypeVar("Done")


class RayWorkers(Generic[Held]):
    """Workers that each hold what `load` returns, which each calls once, on its machine, when it
    has something to do.

    Raises `InterruptionError` where the cluster has no room for all workers within `patience`
    seconds.
    """

    def __init__(self, load: Callable[[], Held], *, patience: float = PATIENCE) -> None:
        self._ray = _connected()
        self._load, self._patience = load, patience
        self._workers: list[Any] = []
        self._room: Any = None
        try:
            self._take_room()
            self._workers = [self._start() for _ in range(self.at_once)]
        except BaseException:
            self.close()
            raise
        log.info("%d Ray workers", self.at_once)

    def close(self) -> None:
        """End the workers, and the cluster where it is one of this process."""
        for worker in self._workers:
            self._ray.kill(worker)
        if self._room is not None:
            self._ray.util.remove_placement_group(self._room)
        self._ray.shutdown()

    def map(self, work: Callable[[Held, Item], Done], items: Sequence[Item]) -> Iterator[Done]:
        """Yield what `work` returns of every item, in the items' order."""
        done: dict[int, Done] = {}
        groups = self.spread(partial(_one_by_one, work), items, [[i] for i in range(len(items))])
        for i in range(len(items)):
            while i not in done:
                done |= next(groups)
            yield done.pop(i)

    def spread(
        self,
        work: Callable[[Held, Sequence[Item]], Iterator[dict[int, Done]]],
        items: Sequence[Item],
        chunks: Iterable[list[int]],
    ) -> Iterator[dict[int, Done]]:
        """Yield what `work` yields of chunks of the items, each by its index among `items`.

        Raises what `load` and `work` raise, and `InterruptionError` where one chunk costs several
        workers.
        """
        waiting = deque((indices, 0) for indices in chunks)
        idle, failures = list(self._workers), self._ray.exceptions
        # By the reply that comes next: its worker, the reply after it, what is left, and deaths.
        busy: dict[Any, tuple[Any, Any, list[int], int]] = {}
        while waiting or busy:
            while waiting and idle:
                worker, (left, deaths) = idle.pop(), waiting.popleft()
                reply = worker.begin.remote(work, {i: items[i] for i in left})
                busy[reply] = worker, worker.more.remote(), left, deaths
            ready, _ = self._ray.wait(list(busy), num_returns=1)
            worker, following, left, deaths = busy.pop(ready[0])
            try:
                group: dict[int, Done] = self._ray.get(ready[0])
            except (
                failures.RayActorError,
                failures.OutOfMemoryError,
                failures.ObjectLostError,
            ) as error:  # it is gone
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
        self.at_once = _worker_count(int(cluster.get(self._kind, 1)))
        # Spread, since every worker fills memory, of which Ray knows nothing.
        self._room = self._ray.util.placement_group(
            [{"CPU": 1, self._kind: 1}] * self.at_once, strategy="SPREAD"
        )
        self._await_room()

    def _await_room(self) -> None:
        """Raise `InterruptionError` where the cluster does not give the workers their room in time.

        Without a limit a worker would wait for ever for what the cluster does not have.
        """
        log.info("waiting for room for %d Ray workers, %g s at most", self.at_once, self._patience)
        if self._room.wait(self._patience):
            return
        has, free = (
            ", ".join(f"{kind} {resources.get(kind, 0):g}" for kind in ("CPU", "GPU"))
            for resources in (self._ray.cluster_resources(), self._ray.available_resources())
        )
        raise InterruptionError(
            f"{self.at_once} Ray workers need a CPU{' and a GPU' * (self._kind == 'GPU')} each, "
            f"and in {self._patience:g} s the cluster did not give them: it has {has}, and free "
            f"are {free}; set {WORKERS} to fewer, or wait until others are done"
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
        if deaths >= _DEATHS:
            raise InterruptionError(
                f"{deaths} Ray workers died of the same work; what was finished before is kept. Is "
                f"there memory enough for all workers of a machine? Ray says: {error}"
            ) from error
        log.warning("a Ray worker died; what it had not handed on is asked again")
        self._ray.kill(worker)  # one that is only out of reach would keep its place
        self._await_room()  # its machine may be gone, and its room with it
        self._workers[self._workers.index(worker)] = new = self._start()
        return new


class _Worker:
    """A process of the cluster with what it works with in its memory.

    It is asked for one group after the other, and no stream is opened: Ray's own streams are not
    to be had over an address with ray://.
    """

    def __init__(self, load: Callable[[], Any]) -> None:
        self._loaded = cache(load)
        self._indices: list[int] = []
        self._groups: Iterator[dict[int, Any]] = iter(())

    def begin(
        self,
        work: Callable[[Any, Sequence[Any]], Iterator[dict[int, Any]]],
        chunk: Mapping[int, Any],
    ) -> dict[int, Any]:
        """Return what of a chunk is finished first, by its index; `more` has the others."""
        self._indices = list(chunk)
        self._groups = work(self._loaded(), list(chunk.values()))
        return self.more()

    def more(self) -> dict[int, Any]:
        """Return what is finished next, by its index; nothing where all was handed on."""
        return {self._indices[i]: done for i, done in next(self._groups, {}).items()}


def _one_by_one(
    work: Callable[[Held, Item], Done], held: Held, items: Sequence[Item]
) -> Iterator[dict[int, Done]]:
    return ({i: work(held, item)} for i, item in enumerate(items))


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
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.WARNING}
    own: dict[str, Any] = {}
    if address == "local":
        own = {"num_cpus": _worker_count(os.cpu_count() or 1), "object_store_memory": _STORE}
    try:
        ray.init(address, **quiet, **own)
    except ValueError as error:  # no address, or one that needs a package more
        raise ConfigError(f"{ADDRESS}={address}: {error}") from error
    except Exception as error:  # Ray raises Exception itself for a cluster that is slow to start
        raise InterruptionError(
            f"{ADDRESS}={address}: no Ray cluster answers there ({error}); start one with "
            "`ray start --head`, say local, or wait until the machine is less busy"
        ) from error
    return ray


def _worker_count(most: int) -> int:
    named = os.environ.get(WORKERS)
    if named is None:
        return max(most, 1)
    if not named.isdigit() or named == "0":
        raise ConfigError(f"{WORKERS} must be a number of workers, 1 or more, not {named!r}")
    return int(named)
