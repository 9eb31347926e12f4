"""A server with OpenAI's protocol for a registered version, in a child process.

vLLM where it is installed, else the server that comes with transformers. Neither asks who calls.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from threading import Thread
from typing import TYPE_CHECKING

from components.core.errors import ConfigError, StageError
from components.core.storage import read_json
from components.core.untrusted_text import for_terminal
from flows.runner.child import child_process
from flows.runner.environment import stage_environment

if TYPE_CHECKING:
    from components.registry.answering import Usable

BASE = "post-trained"  # what vLLM calls the model without the adapter
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # for which vLLM can set memory aside
# All that is needed is here, and nobody asks whether there is a newer release.
_OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
_ANSWER_SECONDS, _STEP_SECONDS = 5, 0.5


class ModelServer:
    """A server that has been started, and where it listens."""

    def __init__(self, process: Popen[str], address: str, name: str, log: Callable[[str], None]):
        self._process, self._log = process, log
        self.address, self.name = address, name
        self._last = "it said nothing"
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            if line.strip():
                self._last = for_terminal(line.rstrip())
                self._log(self._last)

    def wait_until_ready(self) -> None:
        """Return once the server names its model; raise `StageError` where it ends before."""
        import httpx2

        while True:
            self.check_alive()
            try:
                # No proxy of the environment knows this machine's own port.
                answer = httpx2.get(
                    f"{self.address}/models", timeout=_ANSWER_SECONDS, trust_env=False
                )
                listed = answer.json()["data"] if answer.status_code == 200 else []
            except (httpx2.HTTPError, ValueError, KeyError):
                listed = []
            if self.name in [one.get("id") for one in listed]:
                return
            time.sleep(_STEP_SECONDS)

    def check_alive(self) -> None:
        """Raise `StageError` where the server has ended."""
        if (code := self._process.poll()) is not None:
            self._reader.join(_ANSWER_SECONDS)
            raise StageError(f"the server ended with exit code {code}: {self._last}")


@contextmanager
def model_server(
    version: Usable, name: str, scratch: Path, *, host: str, port: int, log: Callable[[str], None]
) -> Iterator[ModelServer]:
    """Yield a server that answers with a version under `name`; it ends with the block, and however
    this process ends.

    `log` gets what it prints. Raises `ConfigError` where something else listens on the port.
    """
    check_free(host, port)
    here = "127.0.0.1" if host == "0.0.0.0" else host
    where = ["--host", host, "--port", str(port)]
    command = _command(version, name, scratch) + where
    environment = stage_environment() | _OFFLINE
    with child_process(command, cwd=scratch, env=environment) as process:
        yield ModelServer(process, f"http://{here}:{port}/v1", name, log)


def _command(version: Usable, name: str, scratch: Path) -> list[str]:
    """Return the command that serves a version, in the folder `scratch`."""
    from components.lm.loading import default_device, precision_word

    # vLLM's "auto" computes a checkpoint of float32 in bfloat16.
    precision = precision_word(version.model, default_device())
    if vllm := shutil.which("vllm", path=stage_environment()["PATH"]):
        return [vllm, *_vllm_words(version, name), "--dtype", precision]
    from components.registry.answering import embed_adapter

    shutil.rmtree(scratch / name, ignore_errors=True)
    embed_adapter(version.model, version.adapter, scratch / name)
    # The server calls its model by the path that it was given, so this is one below its folder.
    program = str(Path(sys.executable).with_name("transformers"))
    place = os.environ.get("SAFEREACT_DEVICE") or "auto"
    return [program, "serve", name, "--device", place, "--dtype", precision]


def _vllm_words(version: Usable, name: str) -> list[str]:
    """Return what `vllm` is told of a version; raises `ConfigError` for a rank that it has not."""
    rank = int(read_json(version.adapter / "adapter_config.json")["r"])
    room = next((one for one in _RANKS if one >= rank), None)
    if room is None:
        raise ConfigError(
            f"the adapter has rank {rank}, and vLLM takes {_RANKS[-1]} at most; take vLLM from the "
            "PATH, and transformers serves it"
        )
    model = ["serve", str(version.model), "--served-model-name", BASE]
    lora = ["--enable-lora", "--max-lora-rank", str(room), "--lora-modules"]
    # Not the checkpoint's own sampling settings, and no format but safetensors.
    own = ["--generation-config", "vllm", "--load-format", "safetensors"]
    return [*model, *lora, f"{name}={version.adapter}", *own]


def check_free(host: str, port: int) -> None:
    """Raise `ConfigError` where nothing can listen on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"nothing can listen on {host}:{port} ({error.strerror}); give another --port"
            ) from error
