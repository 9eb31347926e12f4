"""An embedded Prefect server, which starts while the command loads its libraries.

Prefect by itself would load the server's libraries in the command, too, only to start the server
and wait for it. Here its socket is open at once: a request that comes early waits for its answer.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import threading

_GRACE_SECONDS = 5
_SAME_MOMENT_SECONDS = 0.5
_SETTINGS = {
    # What Prefect sets for a server of its own: no interface, few services.
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",  # seconds for blocks, which no flow here uses
}


def start_prefect_server() -> threading.Event:
    """Start a server that ends with this process, however this ends; Prefect, imported after this,
    speaks to it. Where the server is killed, this process ends, too, with exit code 1, unless the
    event that is returned was set, since the server is needed no more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        command = [sys.executable, "-P", __file__, str(number)]
        settings = {**os.environ, **_SETTINGS}
        server = subprocess.Popen(command, env=settings, pass_fds=[number], stdin=subprocess.PIPE)
        os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
    # A cold server on a busy machine needs more than Prefect's minute.
    os.environ.setdefault("PREFECT_API_REQUEST_TIMEOUT", "120")
    unneeded = threading.Event()
    threading.Thread(target=_end_with_server, args=(server, unneeded), daemon=True).start()
    atexit.register(_end, server, unneeded)
    return unneeded


def _end_with_server(server: subprocess.Popen[bytes], unneeded: threading.Event) -> None:
    """Exit when the server has been killed, which Prefect's client would not take for an end for
    minutes; a server that fails by itself says why to whoever asks it."""
    from flows.runner.kill_with_parent import end_descendants
    from flows.runner.supervisor import is_ending, print_killed

    # What ends the group ends both, and comes to this process a little later or earlier.
    if server.wait() >= 0 or unneeded.wait(_SAME_MOMENT_SECONDS) or is_ending():
        return
    end_descendants()
    print_killed("the embedded Prefect server", -server.returncode)
    os._exit(1)


def _end(server: subprocess.Popen[bytes], unneeded: threading.Event) -> None:
    unneeded.set()
    server.terminate()
    try:
        server.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _end_with_parent() -> None:
    """Exit when standard input closes, which the parent holds open for as long as it lives."""
    while os.read(0, 1):
        pass
    os._exit(1)


def _serve(number: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import uvicorn
    from prefect.server.api.server import create_app

    config = uvicorn.Config(create_app, factory=True, log_level="error", lifespan="on")
    uvicorn.Server(config).run([socket.socket(fileno=number)])


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
