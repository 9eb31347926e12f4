"""Logs as lm-evaluation-harness and Inspect write them, of made-up prompts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.core.storage import digest_bytes

WHEN = "2026-01-02T03-04-05.000006"


def sample(doc_id: int, filtered: str = "none", /, **metrics: Any) -> dict[str, Any]:
    """Return the line of a document behind one filter."""
    text = f"Placeholder request number {doc_id}."
    return {
        "doc_id": doc_id,
        "doc": {"text": text},
        "target": "x",
        "arguments": {"gen_args_0": {"arg_0": text, "arg_1": {}}},
        "resps": [["secret"]],
        "filtered_resps": ["secret"],
        "filter": filtered,
        "metrics": list(metrics),
        "doc_hash": digest_bytes(text.encode()),
        "prompt_hash": digest_bytes(f"<user>{text}".encode()),
        "target_hash": digest_bytes(b"x"),
        **metrics,
    }


def write_samples(
    folder: Path, lines: Sequence[Mapping[str, Any] | str], task: str = "sums", when: str = WHEN
) -> Path:
    """Write a task's samples; a line that is a text is written as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"samples_{task}_{when}.jsonl"
    written = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text("".join(f"{line}\n" for line in written))
    return path


def write_inspect_log(
    path: Path, values: Mapping[str, Sequence[Any]], task: str = "sums", **changes: Any
) -> Path:
    """Write a log of Inspect whose scorer gave these values to the epochs of these prompts.

    A value that is an exception is the error that ended the sample; None is a sample without score.
    """
    from inspect_ai.log import (
        EvalConfig,
        EvalDataset,
        EvalError,
        EvalLog,
        EvalSample,
        EvalSpec,
        write_eval_log,
    )
    from inspect_ai.model import ChatMessageUser
    from inspect_ai.scorer import Score

    def of(name: str, epoch: int, value: Any) -> EvalSample:
        fault = isinstance(value, Exception)
        error = EvalError(message="x", traceback="", traceback_ansi="") if fault else None
        scored = None if fault or value is None else {"match": Score(value=value)}
        asked = [ChatMessageUser(content=f"Placeholder request {name}.")]
        return EvalSample(id=name, epoch=epoch, input=asked, target="x", scores=scored, error=error)

    about = {"status": "success", "model": "m", "created": "2026-01-02T03:04:05+00:00"} | changes
    samples = [
        of(name, epoch, value)
        for name, given in values.items()
        for epoch, value in enumerate(given, 1)
        if value != "missing"
    ]
    log = EvalLog(
        status=about["status"],
        eval=EvalSpec(
            created=about["created"],
            task=task,
            model=about["model"],
            dataset=EvalDataset(samples=len(values), sample_ids=list(values)),
            config=EvalConfig(epochs=max(map(len, values.values()))),
        ),
        samples=samples,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_eval_log(log, str(path))
    return path
