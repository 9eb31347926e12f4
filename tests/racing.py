"""Promotions, rollbacks and registrations by several processes at the same moment."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path

from components.core.errors import RegistryError
from components.core.paths import Workspace

RACERS = 6
_barrier: Barrier


@contextmanager
def racers(environment: Mapping[str, str]) -> Iterator[ProcessPoolExecutor]:
    """Yield processes that begin what they are told only when all of them are ready."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow", "components.registry.registration"])
    with ProcessPoolExecutor(
        RACERS, context, _begin, (context.Barrier(RACERS), dict(environment))
    ) as pool:
        yield pool


def _begin(barrier: Barrier, environment: dict[str, str]) -> None:
    global _barrier
    _barrier = barrier
    # The process that they are forked from has the environment of the first test that raced.
    for name in [name for name in os.environ if name.startswith("MLFLOW_TRACKING_")]:
        del os.environ[name]
    os.environ.update(environment)


def promote_at_once(root: Path, name: str, version: str, by: str) -> str | None:
    """Return why the promotion was refused, None where it was not."""
    from components.registry.promotion import promote

    return _at_once(root, promote, name, version, by=by)


def rollback_at_once(root: Path, name: str, by: str) -> str | None:
    """Return why the rollback was refused, None where it was not."""
    from components.registry.promotion import rollback

    return _at_once(root, rollback, name, by=by)


def withdraw_at_once(root: Path, name: str, version: str, by: str) -> str | None:
    """Return why the withdrawal was refused, None where it was not."""
    from components.registry.promotion import withdraw

    return _at_once(root, withdraw, name, version, by=by)


def _at_once(root: Path, change: Callable[..., object], *about: str, by: str) -> str | None:
    from components.registry.mlflow_registry import Registry

    registry = Registry(root)
    _barrier.wait(120)
    try:
        change(registry, *about, by=by, why="race")
    except RegistryError as error:
        return str(error)
    return None


def register_at_once(workspace: Workspace, names: dict[str, str]) -> tuple[str, bool]:
    """Return the version and whether this call made it."""
    from components.registry.registration import register

    _barrier.wait(120)
    registered = register(workspace, **names)
    return registered.version, registered.new
