"""What MLflow raises, told in one sentence."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from components.core.disk import disk_trouble
from components.core.errors import RegistryError
from components.core.untrusted_text import for_terminal

_KEPT = "All evidence is kept: the same command again takes up from here"
_SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_LONGEST = 240  # characters of what the server said
P = ParamSpec("P")
R = TypeVar("R")


def clear_errors(call: Callable[P, R]) -> Callable[P, R]:
    """Return `call` with what MLflow raises turned into one `RegistryError` naming the server."""

    @functools.wraps(call)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        from mlflow.exceptions import MlflowException
        from requests.exceptions import RequestException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            return call(*args, **kwargs)
        except (MlflowException, SQLAlchemyError, ConnectionError, RequestException) as error:
            # A server's "Permission denied" is not the disk's.
            refused = _status(error) in (401, 403)
            told = None if refused else disk_trouble(error)
            raise RegistryError(told or _told(error)) from error

    return wrapper


def without_secrets(text: str) -> str:
    """Return `text` without the user and password of an address, and without those in the
    environment."""
    for secret in (os.environ.get(name) for name in _SECRETS):
        text = text.replace(secret, "***") if secret else text
    return re.sub(r"//\S*@", "//", text)


def _told(error: Exception) -> str:
    """Return which server failed, why, and what to do about it."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "the embedded store in mlruns/"
    said = str(error)
    status = _status(error)
    if status == 401:
        why = (
            "refused the credentials; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to "
            "those of one of its users"
        )
    elif status == 403:
        user = os.environ.get("MLFLOW_TRACKING_USERNAME", "the user of the address")
        why = (
            f"forbids this to {user} ({_first_line(said)}); whoever registers and promotes needs "
            "the permission EDIT on the experiment and on the registered model"
        )
    elif _silent(error):
        why = "does not answer; check MLFLOW_TRACKING_URI and that the server runs"
    else:
        why = f"failed: {_first_line(said)}"
    return without_secrets(f"MLflow ({uri}) {why}. {_KEPT}")


def _status(error: Exception) -> int | None:
    """Return the status of the answer that an error stands for, None where there was none."""
    response = getattr(error, "response", None)
    if response is not None:
        return response.status_code
    code = getattr(error, "get_http_status_code", None)
    return code() if code else None


def _silent(error: Exception) -> bool:
    return isinstance(error, ConnectionError) or bool(
        re.search("failed with (timeout )?exception|Max retries exceeded", str(error))
    )


def _first_line(text: str) -> str:
    body = text.rpartition("Response body: ")[2] or text
    return for_terminal(next(iter(body.strip().splitlines()), "no reason"))[:_LONGEST]
