"""What there is on this machine: libraries, git, DVC, servers, a launcher."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from platform import python_version

from components.core.errors import RegistryError, StageError
from components.core.launcher import VARIABLE, named_launcher
from components.core.paths import DECIDING, Workspace
from components.core.run_record import git_commit, untracked
from flows.doctor.checks import Finding, missing, ok, refused, warning
from flows.runner.environment import check_prefect_server

DISTRIBUTION = "safereact-ops"


def check_packages() -> Iterator[Finding]:
    """Yield whether every library is installed in a version that this package asks for."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(text) for text in requires(DISTRIBUTION) or ()]
    except PackageNotFoundError:
        lacking = f"{DISTRIBUTION} is not installed, so versions were not compared"
        yield warning("packages", lacking, "pip install -e .")
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
            lacking = f"{need.name} {found or 'is not installed'}; {need.specifier} is needed"
            yield missing("packages", lacking, f'pip install "{need}"')
    if not unmet:
        versions = f"Python {python_version()}, {len(wanted)} libraries in the versions asked for"
        yield ok("packages", versions)


def check_repository(workspace: Workspace) -> Iterator[Finding]:
    """Yield whether git and DVC know the repository, and whether it can be written to."""
    root = workspace.root
    if shutil.which("git") is None:
        yield missing("git", "git is not on the PATH", "install git")
    elif git_commit(root)[0] is None:
        lacking = "no commit here, so results cannot name the code they come from"
        yield warning("git", lacking, "git init, then commit")
    elif lost := untracked(root, DECIDING):
        lacking = f"no commit holds {', '.join(lost)}, which decide results"
        yield warning("git", lacking, f"git add {' '.join(map(shlex.quote, lost))}")
    else:
        yield ok("git", "a checkout with commits")
    if (root / ".dvc").is_dir():
        yield ok("dvc", "initialised")
    else:
        yield missing("dvc", f"{root} is not a DVC repository", "dvc init")
    if not os.access(root, os.W_OK):
        lacking = f"{root}, where results go, cannot be written to"
        yield missing("folder", lacking, "mend its rights")


def check_servers(workspace: Workspace) -> Iterator[Finding]:
    """Yield whether the servers that the environment names answer as a run would ask them, else
    whether their embedded stores can be written."""
    stores = {"mlflow": workspace.tracking_store, "prefect": workspace.prefect_home}
    variables = {"mlflow": "MLFLOW_TRACKING_URI", "prefect": "PREFECT_API_URL"}
    for subject, variable in variables.items():
        address = os.environ.get(variable)
        if not address:
            yield _embedded(subject, variable, stores[subject])
            continue
        try:
            if subject == "mlflow":
                _ask_registry(workspace, address)
            else:
                check_prefect_server(address)
        except (RegistryError, StageError) as error:
            yield refused(subject, error, default=f"start the server, or unset {variable}")
        else:
            server = address.startswith(("http://", "https://"))
            # A user and a password may stand in an address; they are not shown.
            shown = f"{address.partition('://')[2].rpartition('@')[2]} answers"
            store = f"{variable} names a store, not a server; not tried"
            yield ok(subject, shown if server else store)


def _ask_registry(workspace: Workspace, address: str) -> None:
    """Ask an MLflow server for a model; a database is not opened, since that might make it."""
    from components.registry.mlflow_client import address_of
    from components.registry.mlflow_registry import Registry

    if address_of(address, workspace.tracking_store).startswith("http"):
        Registry(workspace.root).find_model("doctor")


def _embedded(subject: str, variable: str, store: Path) -> Finding:
    if os.access(store if store.exists() else store.parent, os.W_OK):
        return ok(subject, f"embedded, in {store.name}/")
    lacking = f"the embedded store {store} cannot be written"
    return missing(subject, lacking, f"mend its rights, or set {variable}")


def check_launcher() -> Iterator[Finding]:
    """Yield whether the program that SAFEREACT_LAUNCHER names is there; nothing where unset."""
    try:
        words = named_launcher()
    except ValueError as error:
        yield missing("launcher", f"{VARIABLE}: {error}", "mend its quotes")
        return
    # Programs beside this Python come first, as where the stage is launched.
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    if words and shutil.which(words[0], path=places):
        yield ok("launcher", f"training is started by {words[0]}")
    elif words:
        lacking = f"{VARIABLE} begins with {words[0]!r}, which is not on the PATH"
        yield missing("launcher", lacking, "install it, or unset the variable")
