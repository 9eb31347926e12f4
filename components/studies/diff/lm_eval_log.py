"""Samples that lm-evaluation-harness 0.4 logged (`--log_samples`).

A line of `samples_<task>_<when>.jsonl` is one document behind one filter; its keys are those of
the harness's `lm_eval/evaluator.py`. A metric is called here as in the harness's results:
`exact_match,strict-match`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

from components.core.errors import DataError
from components.core.storage import digest_bytes
from components.studies.diff.logs import MOST_BYTES, Log, Scored, Value, number_in, shown

HARNESS = "lm-eval"
FILE = re.compile(r"samples_(.+)_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)\.jsonl")
LONGEST_LINE = 16 << 20  # bytes; a document with all of its completions

_Line = dict[str, object]


def read_lm_eval(path: Path, files: Iterable[Path]) -> Log:
    """Return the log that lies at `path` in `files`, of each task the newest.

    Raises `DataError` for a file of another name, too large or not as the harness writes it, naming
    file and line.
    """
    log, newest = Log(HARNESS, path), _newest(files)
    if sum(file.stat().st_size for runs in newest.values() for file in runs[:1]) > MOST_BYTES:
        raise DataError(f"{shown(path)} holds more than {MOST_BYTES >> 30} GiB; give one task")
    for task, (file, *older) in newest.items():
        if older:
            log.notes.append(
                f"of task {shown(task)} the newest run counts, {shown(file.name)}; "
                f"{len(older)} older not read"
            )
        seen: set[tuple[str, str]] = set()
        for number, line in _lines(file):
            try:
                _add(log, task, line, seen)
            except ValueError as fault:
                raise DataError(f"{shown(file)}, line {number}: {fault}") from None
        if not seen:
            raise DataError(f"{shown(file)} holds no sample; evaluate the task again")
    return log


def _newest(files: Iterable[Path]) -> dict[str, list[Path]]:
    """Return the files of each task, the newest first."""
    runs: dict[str, list[tuple[str, Path]]] = {}
    for file in files:
        found = FILE.fullmatch(file.name)
        if found is None:
            raise DataError(
                f"{shown(file)} is not called samples_<task>_<when>.jsonl, as lm-eval calls it; "
                "give it its name back, which says what the task is"
            )
        runs.setdefault(found[1], []).append((found[2], file))
    return {task: [file for _, file in sorted(own, reverse=True)] for task, own in runs.items()}


def _lines(path: Path) -> Iterator[tuple[int, _Line]]:
    with path.open("rb") as stream:
        for number in count(1):
            raw = stream.readline(LONGEST_LINE + 1)
            if not raw:
                return
            if raw.strip() or len(raw) > LONGEST_LINE:
                try:
                    line = _parsed(raw)
                except ValueError as fault:
                    what = f"line {number} {shown(fault)}"
                    raise DataError(f"{shown(path)}, {what}; is it lm-eval's, and whole?") from None
                yield number, line


def _parsed(raw: bytes) -> _Line:
    """Return the object on a line; raises `ValueError` with what it is instead."""
    if len(raw) > LONGEST_LINE:
        raise ValueError(f"is longer than {LONGEST_LINE >> 20} MiB")
    try:
        line = json.loads(raw.decode("utf-8"))
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"is not JSON ({error})") from None
    if not isinstance(line, dict):
        raise ValueError("is no JSON object")
    return line


def _add(log: Log, task: str, line: _Line, seen: set[tuple[str, str]]) -> None:
    """Add a line to the log; raises `ValueError` with what is wrong with it."""
    name, filtered, metrics = line.get("doc_id"), line.get("filter"), line.get("metrics")
    if isinstance(name, bool) or not isinstance(name, (int, str)):
        raise ValueError("doc_id is no number or text")
    if not isinstance(filtered, str) or not isinstance(metrics, list):
        raise ValueError("filter or metrics is missing; a newer lm-eval 0.4 writes them")
    if not all(isinstance(metric, str) for metric in metrics):
        raise ValueError("metrics is no list of names")
    prompt = str(name)
    if (prompt, filtered) in seen:
        raise ValueError(f"doc_id {shown(prompt)}, filter {shown(filtered)}, is there twice")
    seen.add((prompt, filtered))
    values: dict[str, Value] = {}
    for metric in metrics:
        value = number_in(line.get(metric))
        if value is None:
            kind = type(line[metric]).__name__ if metric in line else "missing"
            what = f"values of {shown(metric)} of task {shown(task)} that are no number ({kind})"
            log.left_out[what] += 1
        else:
            values[f"{metric},{filtered}"] = value
    log.add(task, prompt, _asked(line), values)


def _asked(line: _Line) -> Scored:
    """Return the document's prompt without values: its content is the document and the target.

    The text that the model got, with its chat template and examples, differs between models that
    were asked the same, so it is not the content.
    """
    hashes = [line.get(key, "") for key in ("doc_hash", "target_hash", "prompt_hash")]
    if not hashes[0] or not all(isinstance(one, str) for one in hashes):
        raise ValueError("doc_hash is missing or no text; lm-eval 0.4 writes it")
    document, target, form = (digest_bytes(str(one).encode("utf-8", "replace")) for one in hashes)
    return Scored(content=document + target, form=form if hashes[2] else "")
