"""Which MLflow store a registry speaks to, searches of it that see every page, and its errors."""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from components.core.disk import disk_trouble
from components.core.errors import RegistryError
from components.core.result import RateFigure
from components.core.storage import keep_private
from components.core.untrusted_text import for_terminal
from components.registry.measured import Used

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Dataset
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
LARGEST_BATCH = 1000  # metrics that MLflow takes at once
TRAINING = {"mlflow.experimentKind": "custom_model_development"}  # how its pages are laid out
NOTE = "mlflow.note.content"  # the description of a run, in Markdown
_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
_SQLITE = "sqlite:///"
_CURRENT_USER = "/api/2.0/mlflow/users/current"
_SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_LONGEST = 240  # characters of what the server said
T = TypeVar("T")
P = ParamSpec("P")


class Run(NamedTuple):
    """A run of an experiment; an open one was not ended, and a finished one came to its end."""

    id: str
    tags: dict[str, str]
    open: bool
    finished: bool


def set_up() -> None:
    """Set what MLflow reads from the environment, unless it is set already."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    for noisy in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def load_mlflow() -> None:
    """Import what a registry imports later, for a caller that waits for something else."""
    set_up()
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


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
        return f"{_SQLITE}{embedded / 'mlflow.db'}"
    scheme, separator, _ = server.partition("://")
    if not separator or scheme.partition("+")[0] not in _SCHEMES:
        raise RegistryError(
            f"MLFLOW_TRACKING_URI is {without_secrets(server)!r}; allowed are addresses that "
            f"start with {', '.join(f'{allowed}://' for allowed in _SCHEMES)}"
        )
    return server


def client_of(address: str) -> MlflowClient:
    """Return a client of the store at `address`, which becomes the process-wide store, too.

    MLflow looks the logged model of a new version up in the process-wide store, and another
    registry of this process may have set that since.
    """
    import mlflow

    _create_embedded(address)
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


def _create_embedded(address: str) -> None:
    """Make a new SQLite database with all its tables at once: MLflow would never get over a kill
    in the middle of its migrations."""
    path = Path(address.removeprefix(_SQLITE))
    if not address.startswith(_SQLITE) or path.exists() or not path.parent.is_dir():
        return
    from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with TemporaryDirectory(prefix=".new-", dir=path.parent) as folder:
        made = Path(folder) / path.name
        make: Any = SqlAlchemyStore
        make(f"{_SQLITE}{made}", DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH).engine.dispose()
        with suppress(FileExistsError):  # another process was quicker
            os.link(made, path)


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


def found_or_none(get: Callable[[], T]) -> T | None:
    """Return what a call of MLflow gets; None where there is no such thing."""
    from mlflow.exceptions import MlflowException

    try:
        return get()
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


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


def as_metrics(rates: Mapping[str, RateFigure]) -> dict[str, float]:
    """Return rates as metrics of MLflow: each with `.low`, `.high` and `.n` beside it, and with
    `.highest` where completions may count or not: then it is the lowest."""
    flat: dict[str, float] = {}
    for key, rate in rates.items():
        flat |= {key: rate.rate, f"{key}.low": rate.low, f"{key}.high": rate.high}
        flat[f"{key}.n"] = rate.n
        if rate.highest:
            flat[f"{key}.highest"] = rate.most
    return flat


def data_set(used: Used) -> Dataset:
    """Return a data set as MLflow keeps it: of a digest the first 36 characters."""
    from mlflow.entities import Dataset

    source, profile = json.dumps({"uri": used.source}), json.dumps({"num_rows": used.rows})
    return Dataset(used.name, used.digest[:36], "local", source, None, profile)


def milliseconds(when: datetime | None) -> int:
    """Return a moment, or this one, as MLflow counts: in milliseconds since 1970."""
    return int(1000 * (when.timestamp() if when else time.time()))


def download(address: str, uri: str, folder: Path) -> None:
    """Download what the store at `address` has under `uri` into `folder`."""
    from mlflow.artifacts import download_artifacts

    # Without a destination MLflow would answer with the store's own folder.
    download_artifacts(
        artifact_uri=uri, dst_path=str(folder), tracking_uri=address, registry_uri=address
    )


def accepted_user(server: str) -> str:
    """Return the user whose credentials the MLflow server accepts; empty where it knows no users,
    and has no such address, and where a database takes its place."""
    if not server.startswith(("http://", "https://")):
        return ""
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request, verify_rest_response

    request: Any = http_request  # MLflow does not type it
    credentials: Any = get_default_host_creds
    answer = request(credentials(server), _CURRENT_USER, "GET")
    if answer.status_code == 404:
        return ""
    try:
        return str(verify_rest_response(answer, _CURRENT_USER).json()["user"]["username"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConnectionError(f"{_CURRENT_USER} names no user: {answer.text:.80}") from error


# --- errors ----------------------------------------------------------------------------------


def with_clear_errors(kind: type[T]) -> type[T]:
    """Return a class, each of whose public methods turns what MLflow raises into one
    `RegistryError` that names the server."""
    for name, method in list(vars(kind).items()):
        if callable(method) and not name.startswith("_"):
            setattr(kind, name, _clear_errors(method))
    return kind


def store_errors() -> tuple[type[Exception], ...]:
    """Return what a registry raises where it, its database or its store of files fails."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    known = (MlflowException, SQLAlchemyError, ConnectionError, RequestException)
    if "boto3" not in sys.modules:  # nothing has asked S3
        return known
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    return (*known, Boto3Error, BotoCoreError, ClientError)


def _clear_errors(call: Callable[P, T]) -> Callable[P, T]:
    @functools.wraps(call)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except store_errors() as error:
            # A server's "Permission denied" is not the disk's.
            refused = _status(error) in (401, 403)
            message = None if refused else disk_trouble(error)
            raise RegistryError(message or _message(error)) from error

    return wrapper


def without_secrets(text: str) -> str:
    """Return `text` without the user and password of an address, and without those in the
    environment."""
    for secret in (os.environ.get(name) for name in _SECRETS):
        text = text.replace(secret, "***") if secret else text
    return re.sub(r"//\S*@", "//", text)


def _message(error: Exception) -> str:
    """Return which server failed, why, and what to do about it."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "the embedded store in mlruns/"
    status, text = _status(error), str(error)
    body = (text.rpartition("Response body: ")[2] or text).strip().splitlines()
    reason = for_terminal(next(iter(body), "no reason"))[:_LONGEST]
    silent = re.search("failed with (timeout )?exception|Max retries exceeded", text)
    if status == 401:
        why = (
            "refused the credentials; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to "
            "those of one of its users"
        )
    elif status == 403:
        user = os.environ.get("MLFLOW_TRACKING_USERNAME", "the user of the address")
        why = (
            f"forbids this to {user} ({reason}); whoever registers and promotes needs the "
            "permission EDIT on the experiment and on the registered model"
        )
    elif silent or isinstance(error, ConnectionError):
        why = "does not answer; check MLFLOW_TRACKING_URI and that the server runs"
    else:
        why = f"failed: {reason}"
    keeps = "All evidence is kept: the same command again takes up from here"
    return without_secrets(f"MLflow ({uri}) {why}. {keeps}")


def _status(error: Exception) -> int | None:
    """Return the status of the answer that an error stands for, None where there was none."""
    response = getattr(error, "response", None)
    if response is not None:
        return int(response.status_code)
    code = getattr(error, "get_http_status_code", None)
    return int(code()) if code else None
