"""What there is on this machine: libraries, git, DVC, servers, devices, memory."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from platform import python_version

import psutil

from components.core.errors import RegistryError
from components.core.launcher import VARIABLE, named_launcher
from components.core.paths import DECIDING, Workspace
from components.core.run_record import git_commit, untracked
from flows.doctor.checks import Finding, State

DISTRIBUTION = "safereact-ops"
_SECONDS = 3  # in which a server must answer


@dataclass(frozen=True, slots=True)
class Device:
    """Where models run: a name, how many there are, bytes of one, whether it computes in bf16."""

    name: str
    count: int
    memory: int
    bf16: bool
    accelerator: bool


def find_device() -> Device:
    """Return the device that the stages would take, as components/lm/loading.py chooses it.

    The memory of the CPU is that of the machine.
    """
    import torch

    kind = os.environ.get("SAFEREACT_DEVICE", "").partition(":")[0]
    if kind in ("", "cuda") and torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        count = torch.cuda.device_count()
        return Device(properties.name, count, properties.total_memory, bf16, True)
    memory = psutil.virtual_memory().total
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is not None and kind in ("", accelerator.type):
        return Device(accelerator.type, torch.accelerator.device_count(), memory, True, True)
    return Device("CPU", 1, memory, False, False)


def check_packages() -> Iterator[Finding]:
    """Yield whether every library is installed in a version that this package asks for."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(text) for text in requires(DISTRIBUTION) or ()]
    except PackageNotFoundError:
        told = f"{DISTRIBUTION} is not installed, so versions were not compared"
        yield Finding("packages", State.WARNING, told, "pip install -e .")
        return
    wanted = [need for need in wanted if need.marker is None or need.marker.evaluate()]
    unmet = 0
    for need in wanted:
        try:
            found = version(need.name)
        except PackageNotFoundError:
            found = ""
        if not found or not need.specifier.contains(found, prereleases=True):
            unmet += 1
            told = f"{need.name} {found or 'is not installed'}; {need.specifier} is needed"
            yield Finding("packages", State.MISSING, told, f'pip install "{need}"')
    if not unmet:
        told = f"Python {python_version()}, {len(wanted)} libraries in the versions asked for"
        yield Finding("packages", State.OK, told)


def check_repository(workspace: Workspace) -> Iterator[Finding]:
    """Yield whether git and DVC know the repository, and whether it can be written to."""
    root = workspace.root
    if shutil.which("git") is None:
        yield Finding("git", State.MISSING, "git is not on the PATH", "install git")
    elif git_commit(root)[0] is None:
        told = "no commit here, so results cannot name the code they come from"
        yield Finding("git", State.WARNING, told, "git init, then commit")
    elif lost := untracked(root, DECIDING):
        told = f"no commit holds {', '.join(lost)}, which decide results"
        yield Finding("git", State.WARNING, told, f"git add {' '.join(map(shlex.quote, lost))}")
    else:
        yield Finding("git", State.OK, "a checkout with commits")
    if (root / ".dvc").is_dir():
        yield Finding("dvc", State.OK, "initialised")
    else:
        yield Finding("dvc", State.MISSING, f"{root} is not a DVC repository", "dvc init")
    if not os.access(root, os.W_OK):
        told = f"{root}, where results go, cannot be written to"
        yield Finding("folder", State.MISSING, told, "mend its rights")


def check_servers(workspace: Workspace) -> Iterator[Finding]:
    """Yield whether the servers that the environment names answer, else their embedded stores."""
    mlflow = _server("mlflow", "MLFLOW_TRACKING_URI", workspace.tracking_store)
    asked = mlflow.state is State.OK and os.environ.get("MLFLOW_TRACKING_URI")
    yield (_refusal_of_registry(workspace) or mlflow) if asked else mlflow
    yield _server("prefect", "PREFECT_API_URL", workspace.prefect_home)


def _refusal_of_registry(workspace: Workspace) -> Finding | None:
    """Return why the registry could not be used, asked as a run would; None where it can be.

    A server's /health asks for no password. A database is not opened, since that might make it.
    """
    from components.registry.mlflow_client import address_of
    from components.registry.mlflow_registry import Registry

    try:
        address = address_of(os.environ["MLFLOW_TRACKING_URI"], workspace.tracking_store)
        if address.startswith("http"):
            Registry(workspace.root).find_model("doctor")
    except RegistryError as error:
        what, _, remedy = str(error).partition("; ")
        return Finding("mlflow", State.MISSING, what, remedy)
    return None


def _server(subject: str, variable: str, store: Path) -> Finding:
    address = os.environ.get(variable)
    if not address:
        place = store if store.exists() else store.parent
        if os.access(place, os.W_OK):
            return Finding(subject, State.OK, f"embedded, in {store.name}/")
        told = f"the embedded store {store} cannot be written"
        return Finding(subject, State.MISSING, told, f"mend its rights, or set {variable}")
    if not address.startswith(("http://", "https://")):
        return Finding(subject, State.OK, f"{variable} names a store, not a server; not tried")
    return _answer(subject, variable, address)


def _answer(subject: str, variable: str, address: str) -> Finding:
    import httpx2

    # A user and a password may stand in an address; they are not shown.
    shown = address.partition("://")[2].rpartition("@")[2]
    try:
        httpx2.get(f"{address.rstrip('/')}/health", timeout=_SECONDS).raise_for_status()
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        told = f"{shown} does not answer ({type(error).__name__})"
        return Finding(subject, State.MISSING, told, f"start the server, or unset {variable}")
    return Finding(subject, State.OK, f"{shown} answers")


def check_launcher() -> Iterator[Finding]:
    """Yield whether the program that SAFEREACT_LAUNCHER names is there; nothing where unset."""
    try:
        words = named_launcher()
    except ValueError as error:
        yield Finding("launcher", State.MISSING, f"{VARIABLE}: {error}", "mend its quotes")
        return
    if not words:
        return
    # Programs beside this Python come first, as where the stage is launched.
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    if shutil.which(words[0], path=places):
        yield Finding("launcher", State.OK, f"training is started by {words[0]}")
    else:
        told = f"{VARIABLE} begins with {words[0]!r}, which is not on the PATH"
        yield Finding("launcher", State.MISSING, told, "install it, or unset the variable")
