"""Which MLflow store a registry speaks to, and searches of it that see every page."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from components.core.errors import RegistryError
from components.core.storage import keep_private
from components.registry.mlflow_errors import without_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.store.entities import PagedList

# A server that does not answer is reported within half a minute instead of many.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
T = TypeVar("T")


def set_up() -> None:
    """Set what MLflow reads from the environment, unless it is set already."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    for noisy in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def address_of(server: str | None, embedded: Path) -> str:
    """Return the address of the store: `server`, else the database in the folder `embedded`.

    Raises `RegistryError` for an address of a kind that is not known, and where the environment
    names another place for versions than for runs.
    """
    other = os.environ.get("MLFLOW_REGISTRY_URI")
    if other and other != server:
        raise RegistryError(
            f"MLFLOW_REGISTRY_URI ({without_secrets(other)}) is not MLFLOW_TRACKING_URI "
            f"({without_secrets(server or 'not set')}); runs and versions are kept in one place: "
            "unset MLFLOW_REGISTRY_URI"
        )
    if not server:
        keep_private(embedded)
        return f"sqlite:///{embedded / 'mlflow.db'}"
    scheme, separator, _ = server.partition("://")
    if not separator or scheme.partition("+")[0] not in _SCHEMES:
        raise RegistryError(
            f"MLFLOW_TRACKING_URI is {without_secrets(server)!r}; allowed are addresses that start "
            f"with {', '.join(f'{allowed}://' for allowed in _SCHEMES)}"
        )
    return server


def client_of(address: str) -> MlflowClient:
    """Return a client of the store at `address`, which becomes the process-wide store, too.

    MLflow looks the logged model of a new version up in the process-wide store, and another
    registry of this process may have set that since.
    """
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    if mlflow.get_tracking_uri() != address:
        mlflow.set_tracking_uri(address)
    if mlflow.get_registry_uri() != address:
        mlflow.set_registry_uri(address)
    # MLflow has put the address there, where the next reader takes an embedded store for a server.
    if before is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = before
    return mlflow.MlflowClient(address, address)


def all_pages(search: Callable[[str | None], PagedList[T]]) -> list[T]:
    """Return what a search of MLflow finds on all its pages; `search` takes a page's token."""
    found: list[T] = []
    token = None
    while True:
        page = search(token)
        found += page
        token = page.token
        if not token:
            return found


def tag_filter(tags: Mapping[str, str]) -> list[str]:
    """Return the conditions of a search for what carries `tags`."""
    return [f"tags.{key} = '{value}'" for key, value in tags.items()]


def unless_there(make: Callable[[], object]) -> None:
    """Make something in MLflow that another call may have made at the same time."""
    from mlflow.exceptions import MlflowException

    try:
        make()
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def again(call: Callable[[], object]) -> None:
    """Make a call that may be repeated a second time where the first fails: of two at once that
    write one data set, tag or alias for the first time MLflow lets one fail."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import IntegrityError

    try:
        call()
    except (MlflowException, IntegrityError):
        call()


def milliseconds(when: datetime | None) -> int:
    """Return a moment, or this one, as MLflow counts: in milliseconds since 1970."""
    return int(1000 * (when.timestamp() if when else time.time()))
