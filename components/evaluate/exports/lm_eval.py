"""Results and samples in the files of lm-evaluation-harness.

For every arm a folder with `results_<when>.json` and for every task `samples_<task>_<when>.jsonl`.
The keys are those of its `lm_eval/evaluator.py` and `lm_eval/loggers/evaluation_tracker.py`
(version 0.4). What it has no place for, our intervals and what training held of a suite, is under
the key `safereact`; the alias of such a suite is marked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from statistics import stdev
from typing import Any

from components.core.result import RateFigure
from components.core.storage import digest_bytes, write_json, write_text
from components.core.vocabulary import AnyArm, Role
from components.evaluate.exports.tasks import WANTED, Task, target
from components.evaluate.result import Evidence
from components.prepare.result import SuiteSet

_OF_PROMPTS = ("id", "text", "role", "topic", "source", "licence", "answer")
_FILTER = "none"  # the harness names after each metric what became of the response before it


def write_lm_eval(
    tasks: Sequence[Task], prompts: SuiteSet, evidence: Evidence, *, when: datetime, out: Path
) -> None:
    """Write the files of all arms into `out`."""
    stamp = when.replace(tzinfo=None).isoformat(timespec="microseconds").replace(":", "-")
    by_arm: dict[AnyArm, list[Task]] = {}
    for task in tasks:
        by_arm.setdefault(task.arm, []).append(task)
    for arm, own in by_arm.items():
        hashes = {}
        for task in own:
            samples = _samples(task)
            lines = "".join(json.dumps(sample, allow_nan=False) + "\n" for sample in samples)
            write_text(out / arm / f"samples_{task.name}_{stamp}.jsonl", lines)
            keys = ("doc_hash", "prompt_hash", "target_hash")
            hashes[task.name] = _hash("".join(sample[key] for sample in samples for key in keys))
        document = _results(own, prompts, evidence) | {
            "task_hashes": hashes,
            "date": when.timestamp(),
            "model_source": "safereact",
            "model_name": str(arm),
            "model_name_sanitized": str(arm),
            "chat_template_sha": evidence.contract.template,
        }
        write_json(out / arm / f"results_{stamp}.json", document)


def _results(tasks: Sequence[Task], prompts: SuiteSet, evidence: Evidence) -> dict[str, Any]:
    sizes = {task.name: len(task.by_prompt()) for task in tasks}
    rates = {task.name: task.rates(evidence) for task in tasks}
    suites = {task.name: prompts.suites.get(task.suite) for task in tasks}
    versions = {
        name: suite.digest if suite else prompts.digest_of_tests for name, suite in suites.items()
    }
    return {
        "results": {task.name: _figures(task, rates[task.name]) for task in tasks},
        "group_subtasks": {task.name: [] for task in tasks},
        "configs": {
            task.name: {
                "task": task.name,
                "output_type": "generate_until",
                "num_fewshot": 0,
                "repeats": max(len(samples) for samples in task.by_prompt().values()),
                "metadata": {**task.about(evidence), **task.note, "version": versions[task.name]},
            }
            for task in tasks
        },
        "versions": versions,
        "n-shot": {task.name: 0 for task in tasks},
        "higher_is_better": {
            task.name: {measure: _aim(task.role, measure) for measure in rates[task.name]}
            for task in tasks
        },
        "n-samples": {name: {"original": n, "effective": n} for name, n in sizes.items()},
        "config": {"model": "safereact", "model_args": tasks[0].about(evidence)},
        "safereact": {
            task.name: {measure: task.annotated(rate) for measure, rate in rates[task.name].items()}
            for task in tasks
        },
    }


def _figures(task: Task, rates: dict[str, RateFigure]) -> dict[str, Any]:
    figures: dict[str, Any] = {"alias": task.title}
    measured = task.measured()
    for measure, rate in rates.items():
        values = list(measured[measure].values())
        # The standard error of a mean, as the harness has it.
        error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else "N/A"
        figures[f"{measure},{_FILTER}"] = rate.rate
        figures[f"{measure}_stderr,{_FILTER}"] = error
    return figures


def _aim(role: Role, measure: str) -> bool | None:
    """Return whether more of a measure is better; None where neither is."""
    if measure.startswith("correct"):
        return True
    wanted = WANTED.get(role)
    outcome = measure.rpartition(".")[2]
    return None if wanted is None or outcome not in WANTED.values() else outcome == wanted


def _samples(task: Task) -> list[dict[str, Any]]:
    measured = task.measured()
    samples = []
    for number, (key, group) in enumerate(task.by_prompt().items()):
        prompt = group[0][0]
        metrics = {name: found[key] for name, found in measured.items() if key in found}
        document = {key: getattr(prompt, key) for key in _OF_PROMPTS}
        samples.append(
            {
                "doc_id": number,
                "doc": document,
                "target": target(prompt),
                "arguments": {"gen_args_0": {"arg_0": prompt.text, "arg_1": {}}},
                "resps": [[row.completion.text for _, row in group]],
                "filtered_resps": [row.answer for _, row in group],
                "filter": _FILTER,
                "metrics": list(metrics),
                "doc_hash": _hash(json.dumps(document, indent=2, ensure_ascii=False)),
                "prompt_hash": _hash(prompt.text),
                "target_hash": _hash(target(prompt)),
                **metrics,
            }
        )
    return samples


def _hash(text: str) -> str:
    return digest_bytes(text.encode("utf-8", "replace"))
