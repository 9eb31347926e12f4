"""Logs of Inspect, read by its own code in a process of its own.

The code that reads a log follows what the log says of itself: some kilobytes of nested brackets
take gigabytes. So it runs within limits.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from components.core.bounded_process import BoundedProcess, serve
from components.core.storage import digest_bytes
from components.studies.diff.logs import LONGEST_NAME, Value, number_in

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

SECONDS = 1200.0  # of processor time, for one log
MEMORY = 4 << 30  # bytes
# Of a sample neither what the model wrote nor how it came to it is read.
_UNREAD = {
    *("attachments", "events", "events_data", "messages", "metadata"),
    *("output", "store", "timelines"),
}
_LETTERS, _WORDS = {"C", "I", "P", "N"}, {"yes", "no", "true", "false"}
# What its reader and the libraries below raise for a file that is no log.
_FAULTS = (
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError, OSError),
    *(RuntimeError, zipfile.BadZipFile),
)


class Header(TypedDict):
    """What a log says of itself; `planned` are the ids of the samples that it was to have."""

    task: str
    model: str
    created: str
    status: str
    planned: list[str]
    epochs: int


class Sample(TypedDict):
    """A sample: the digest of what it asks, why it is left out (else empty), and its metrics.

    A value of None stands for what is no one value, such as a list.
    """

    id: str
    epoch: int
    content: str
    left_out: str
    values: dict[str, Value | None]


# It is asked with ["header" or "samples", path], and replies with a header or a list of samples, or
# with a text: why it cannot.
PROCESS = BoundedProcess(__name__, SECONDS)


def main() -> None:
    """Answer until there are no more requests."""
    import inspect_ai.log
    import inspect_ai.scorer  # noqa: F401

    serve(_answer, MEMORY)


def _answer(request: list[str]) -> Header | list[Sample] | str:
    from inspect_ai.log import read_eval_log

    what, path = request
    try:
        if what == "header":
            return _header(read_eval_log(path, header_only=True))
        return [_sample(one) for one in read_eval_log(path, exclude_fields=_UNREAD).samples or []]
    except _FAULTS as error:
        return _why(error)


def _why(error: Exception) -> str:
    """Return what is wrong with a file, without the texts in it that some messages quote."""
    from pydantic import ValidationError

    kind = type(error).__name__
    if isinstance(error, ValidationError):
        return f"{kind}: {error.error_count()} faults of {error.title}"
    return f"{kind}: {error}" if isinstance(error, (OSError, zipfile.BadZipFile)) else kind


def _header(log: EvalLog) -> Header:
    about = log.eval
    return {
        "task": about.task,
        "model": about.model,
        "created": about.created,
        "status": log.status,
        "planned": [str(name) for name in about.dataset.sample_ids or ()],
        "epochs": about.config.epochs or 1,
    }


def _sample(sample: EvalSample) -> Sample:
    return {
        "id": str(sample.id),
        "epoch": sample.epoch,
        "content": _content(sample),
        "left_out": _why_left_out(sample),
        "values": dict(_values(sample)),
    }


def _content(sample: EvalSample) -> str:
    """Return the digest of what a sample asks: input, choices and target, without the ids that
    messages are given by chance."""
    asked: Any = sample.input
    if not isinstance(asked, str):
        kept = {"role", "content", "tool_calls"}
        asked = [one.model_dump(mode="json", include=kept) for one in asked]
    document = json.dumps([asked, sample.choices, sample.target], sort_keys=True)
    return digest_bytes(document.encode())


def _why_left_out(sample: EvalSample) -> str:
    if sample.error is not None:
        return "with an error"
    if sample.invalidation is not None:
        return "that were invalidated"
    return "" if sample.scores else "without a score"


def _values(sample: EvalSample) -> Iterator[tuple[str, Value | None]]:
    """Yield the sample's metrics with their values: a scorer's name, or, where it gives several
    values, with the value's name after a dot."""
    for scorer, score in (sample.scores or {}).items():
        if isinstance(score.value, Mapping):
            for name, given in score.value.items():
                yield f"{scorer}.{name}", _value(given)
        else:
            yield scorer, _value(score.value)


def _value(given: object) -> Value | None:
    """Return the number that Inspect reads in a score's value; the beginning of a text that it
    reads none in; None for a list."""
    if not isinstance(given, str):
        return number_in(given)
    if given in _LETTERS or given.lower() in _WORDS or _is_number(given):
        from inspect_ai.scorer import value_to_float

        return float(value_to_float()(given))
    return given[:LONGEST_NAME]


def _is_number(text: str) -> bool:
    try:
        return abs(float(text)) < float("inf")
    except ValueError:
        return False
