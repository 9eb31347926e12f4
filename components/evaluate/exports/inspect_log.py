"""Judged rows as logs of Inspect, written by its own code: one log a task.

People read them in its viewer and on terminals, so what could hide or steer in a text is shown as
its code point.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.errors import ConfigError
from components.core.storage import digest_bytes
from components.core.untrusted_text import visible
from components.core.vocabulary import Outcome, Prompt, View
from components.evaluate.exports.tasks import Task, target
from components.evaluate.result import Evidence
from components.evaluate.rows import Row
from components.prepare.result import SuiteSet

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample
    from inspect_ai.scorer import Score

_CORRECT = ("correct", "correct_strict")


def check_inspect() -> None:
    """Raise `ConfigError` where Inspect is not installed."""
    try:
        import inspect_ai  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "a log of Inspect needs inspect_ai, which is not installed: pip install "
            "'safereact-ops[inspect]'"
        ) from error


def write_inspect(
    tasks: Sequence[Task], prompts: SuiteSet, evidence: Evidence, *, when: datetime, out: Path
) -> None:
    """Write `<when>_<task>-<arm>_<id>.eval` for every task into `out`, for `inspect view`."""
    check_inspect()
    from inspect_ai.log import write_eval_log

    stamp = when.isoformat(timespec="seconds").replace(":", "-")
    for task in tasks:
        title = f"{task.name}-{task.arm}".replace(".", "-").replace("_", "-")
        log = _log(task, prompts, evidence, when)
        path = out / f"{stamp}_{title}_{log.eval.task_id}.eval"
        write_eval_log(log, str(path))


def _log(task: Task, prompts: SuiteSet, evidence: Evidence, when: datetime) -> EvalLog:
    from inspect_ai import log as inspect_log

    key = digest_bytes(
        f"{evidence.adapter} {evidence.test_prompts} {task.name} {task.arm}".encode()
    )
    suite = prompts.suites.get(task.suite)
    created = when.isoformat(timespec="seconds")
    samples = [_sample(task, prompt, row) for prompt, row in task.samples]
    ids = list(task.by_prompt())
    return inspect_log.EvalLog(
        version=2,
        status="success",
        eval=inspect_log.EvalSpec(
            eval_id=key[:22],
            run_id=key[22:44],
            task_id=key[:22],
            created=created,
            task=task.name,
            task_display_name=task.title,
            task_version=suite.digest if suite else evidence.data,
            model=f"safereact/{task.arm}",
            dataset=inspect_log.EvalDataset(name=task.suite, samples=len(ids), sample_ids=ids),
            config=inspect_log.EvalConfig(epochs=max(sample.epoch for sample in samples)),
            metadata={**task.about(evidence), **task.note},
        ),
        stats=inspect_log.EvalStats(started_at=created, completed_at=created),
        results=inspect_log.EvalResults(
            total_samples=len(samples),
            completed_samples=len(samples),
            scores=_scores(task, evidence),
        ),
        samples=samples,
    )


def _sample(task: Task, prompt: Prompt, row: Row) -> EvalSample:
    from inspect_ai import model as of_model
    from inspect_ai.log import EvalSample

    name, model, text = f"{prompt.id}-{row.sample}", f"safereact/{task.arm}", visible(prompt.text)
    thought = (
        [] if row.thought is None else [of_model.ContentReasoning(reasoning=visible(row.thought))]
    )
    answer = of_model.ChatMessageAssistant(
        content=[*thought, of_model.ContentText(text=visible(row.answer))],
        id=f"{name}-written",
        model=model,
        source="generate",
    )
    choice = of_model.ChatCompletionChoice(
        message=answer, stop_reason="stop" if row.finished else "max_tokens"
    )
    return EvalSample(
        id=prompt.id,
        epoch=row.sample + 1,
        input=text,
        target=visible(target(prompt)),
        messages=[of_model.ChatMessageUser(content=text, id=f"{name}-asked"), answer],
        output=of_model.ModelOutput(
            model=model,
            choices=[choice],
            usage=of_model.ModelUsage(output_tokens=row.tokens, total_tokens=row.tokens),
        ),
        scores=_scored(row),
        metadata={
            "topic": visible(prompt.topic),
            "source": visible(prompt.source),
            "thought_closed": row.closed,
        },
    )


def _scored(row: Row) -> dict[str, Score]:
    from inspect_ai.scorer import Score

    parts = {
        "answer": (row.outcome_answer, row.said_answer),
        "thought": (row.outcome_thought, row.said_thought),
    }
    scores = {
        part: Score(value=outcome.value, explanation=visible(reason) if reason else None)
        for part, (outcome, reason) in parts.items()
        if outcome is not None
    }
    for name, correct in zip(_CORRECT, (row.correct, row.correct_strict), strict=True):
        if correct is not None:
            scores[name] = Score(value="C" if correct else "I")
    return scores


def _scores(task: Task, evidence: Evidence) -> list[Any]:
    """Return the rates, their intervals and notes with them, as metrics of Inspect's scorers."""
    from inspect_ai.log import EvalMetric, EvalScore

    rates = task.rates(evidence)
    scorers: dict[str, dict[str, str]] = {
        "answer": {outcome.value: outcome.value for outcome in Outcome},
        "thought": {outcome.value: f"{View.THOUGHT}.{outcome}" for outcome in Outcome},
        **{name: {"accuracy": name} for name in _CORRECT},
    }
    found = {
        scorer: {
            name: EvalMetric(
                name=name, value=rates[measure].rate, metadata=task.annotated(rates[measure])
            )
            for name, measure in metrics.items()
            if measure in rates
        }
        for scorer, metrics in scorers.items()
    }
    return [
        EvalScore(name=scorer, scorer=scorer, metrics=metrics)
        for scorer, metrics in found.items()
        if metrics
    ]
