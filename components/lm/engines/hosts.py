"""Which engine writes: the environment says, since it is a matter of where and not of what."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from components.core.environment import settle_environment
from components.core.errors import ConfigError
from components.core.vocabulary import UNBOUND
from components.lm.adapters import attach_adapter
from components.lm.engines.protocol import Engine, Host
from components.lm.engines.ray_shards import RayHost
from components.lm.engines.ray_workers import ADDRESS, Held
from components.lm.engines.vllm_host import VllmHost
from components.lm.generation import checkpoint_end_tokens, engine_of
from components.lm.loading import (
    default_device,
    default_precision,
    free_memory,
    load_model,
    load_tokenizer,
)

VARIABLE = "SAFEREACT_ENGINE"
ENGINES = ("transformers", "vllm", "openai")
_FORWARDED = ("SAFEREACT_DEVICE", "SAFEREACT_PRECISION")  # to Ray workers, on whatever machine


def engine_name() -> str:
    """Return the engine that `SAFEREACT_ENGINE` names, `transformers` where it names none."""
    name = os.environ.get(VARIABLE) or ENGINES[0]
    if name not in ENGINES:
        raise ConfigError(f"{VARIABLE} must be one of {', '.join(ENGINES)}, not {name!r}")
    if name != ENGINES[0] and os.environ.get(ADDRESS):
        raise ConfigError(
            f"{ADDRESS} spreads the engine transformers over a cluster, and {VARIABLE} is {name}, "
            "which spreads its work itself: unset one of them"
        )
    return name


def engine_identity() -> str:
    """Return the engine as evidence names it.

    Rows of another device or precision may differ, so an engine that has the weights names both. A
    server shows none, so what it wrote is not bound to those that the evidence names.
    """
    name = engine_name()
    if name == "openai":
        return f"{name}, {UNBOUND}"
    device = default_device()
    return f"{name}, {device.type}, {str(default_precision(device)).removeprefix('torch.')}"


def engine_place() -> str:
    """Return the address of the server that writes; empty: none does.

    Evidence does not name it, and what another server has written is not taken over.
    """
    from components.lm.engines.server import URL

    return os.environ.get(URL, "") if engine_name() == "openai" else ""


@contextmanager
def open_host(folder: Path, *, batch: int) -> Iterator[Host]:
    """Yield what lends the engines of the checkpoint in `folder`, and close it in the end.

    `batch` is how many completions are written at once, where the engine does not decide it.
    """
    with closing(_host(folder, batch)) as host:
        yield host


def _host(folder: Path, batch: int) -> Any:
    name = engine_name()
    if name == "transformers" and not os.environ.get(ADDRESS):
        return InMemory(folder, batch=batch)
    tokenizer = load_tokenizer(folder)
    ends = checkpoint_end_tokens(folder, tokenizer)
    if name == "transformers":
        return RayHost(in_worker(partial(InMemory, folder.absolute(), batch=batch)), ends)
    if name == "vllm":
        return VllmHost(folder, ends)
    from components.lm.engines.server import ServerHost

    return ServerHost(tokenizer, ends)


def in_worker(load: Callable[[], Held]) -> Callable[[], Held]:
    """Return what calls `load` in a Ray worker as it would be called here: with as many threads, on
    the same device and in the same precision."""
    named = {key: os.environ[key] for key in _FORWARDED if key in os.environ}
    return partial(
        load_in_worker,
        load,
        threads=torch.get_num_threads(),
        environment=named,
        expected=engine_identity(),
    )


def load_in_worker(
    load: Callable[[], Held], *, threads: int, environment: Mapping[str, str], expected: str
) -> Held:
    """Return what `load` returns in a Ray worker, which computes as the process that asks it.

    Raises `ConfigError` where the engine there is not the `expected` one, which evidence names.
    """
    settle_environment()
    torch.set_num_threads(threads)
    os.environ.update(environment)
    if (here := engine_identity()) != expected:
        raise ConfigError(
            f"a Ray worker would compute with {here}, and the process that asks it with "
            f"{expected}; set {' and '.join(_FORWARDED)}, which the workers take over, to what all "
            "of them have, or start from a machine like theirs"
        )
    return load()


class InMemory:
    """The checkpoint in this process's memory, at most one adapter on it."""

    def __init__(self, folder: Path, *, batch: int) -> None:
        self._batch = batch
        self._tokenizer = load_tokenizer(folder)
        self._model: Any = load_model(folder)
        self._adapter: Path | None = None

    def engine(self, arm: str, adapter: Path | None) -> Engine:  # noqa: ARG002 - servers use it
        """Return the engine of the checkpoint with the adapter in a folder, or without one."""
        if self._adapter not in (None, adapter):
            self._model = self._model.unload()
            self._adapter = None
        if adapter is not None and self._adapter is None:
            self._model = attach_adapter(self._model, adapter)
            self._adapter = adapter
        return engine_of(self._model, self._tokenizer, batch=self._batch)

    def close(self) -> None:
        """Give back the memory that the checkpoint takes."""
        del self._model
        free_memory()
