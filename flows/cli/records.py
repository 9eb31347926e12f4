"""What runs recorded of themselves: seconds, memory, machine and versions; no result has it."""

from __future__ import annotations

from pathlib import Path
from typing import NotRequired

from pydantic import TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from components.core.errors import StageError
from components.core.storage import read_json


class PartCost(TypedDict):
    """What a part of a run took."""

    seconds: float
    peak_memory_mib: float


@with_config(extra="allow", allow_inf_nan=False)
class RunRecord(TypedDict):
    """What the last run of a stage recorded."""

    seconds: float
    processor_seconds: float
    peak_memory_mib: float
    machine: str
    parts: dict[str, PartCost]
    versions: dict[str, str]
    result: NotRequired[str]  # the digest of what it wrote
    day: NotRequired[str]
    commit: NotRequired[str | None]


def read_record(path: Path) -> RunRecord | None:
    """Return what a run recorded in `path`; None where there is no record.

    Raises `StageError` for one that is broken, with its first fault.
    """
    if not path.is_file():
        return None
    remedy = "delete it, and only what that run cost and its day are lost"
    try:
        document = read_json(path)
        TypeAdapter(RunRecord).validate_python(document, strict=True)
    except StageError as error:
        raise StageError(f"{error}; {remedy}") from error
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"])) or "the whole"
        said = f"{place}: {fault['msg']}"
        raise StageError(f"{path} is no record of a run ({said}); {remedy}") from error
    record: RunRecord = document
    return record
