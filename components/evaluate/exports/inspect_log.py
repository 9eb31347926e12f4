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
            model=_model(task),
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


def _model(task: Task) -> str:
    return f"safereact/{task.arm}"


def _sample(task: Task, prompt: Prompt, row: Row) -> EvalSample:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatCompletionChoice, ChatMessageUser, ModelOutput, ModelUsage

    name, text = f"{prompt.id}-{row.sample}", visible(prompt.text)
    question = ChatMessageUser(content=text, id=f"{name}-asked")
    answer = _written(row, f"{name}-written", _model(task))
    choice = ChatCompletionChoice(
        message=answer, stop_reason="stop" if row.finished else "max_tokens"
    )
    return EvalSample(
        id=prompt.id,
        epoch=row.sample + 1,
        input=text,
        target=visible(target(prompt)),
        messages=[question, answer],
        output=ModelOutput(
            model=_model(task),
            choices=[choice],
            usage=ModelUsage(output_tokens=row.tokens, total_tokens=row.tokens),
        ),
        scores=_scored(row),
        metadata={
            "topic": visible(prompt.topic),
            "source": visible(prompt.source),
            "thought_closed": row.closed,
        },
    )


def _written(row: Row, name: str, model: str) -> Any:
    from inspect_ai.model import ChatMessageAssistant, ContentReasoning, ContentText

    thought = [] if row.thought is None else [ContentReasoning(reasoning=visible(row.thought))]
    return ChatMessageAssistant(
        content=[*thought, ContentText(text=visible(row.answer))],
        id=name,
        model=model,
        source="generate",
    )


def _scored(row: Row) -> dict[str, Score]:
    from inspect_ai.scorer import Score

    scores = {"answer": _ruling(row.outcome_answer, row.said_answer)}
    if row.outcome_thought is not None:
        scores["thought"] = _ruling(row.outcome_thought, row.said_thought)
    for name, correct in zip(_CORRECT, (row.correct, row.correct_strict), strict=True):
        if correct is not None:
            scores[name] = Score(value="C" if correct else "I")
    return scores


def _ruling(outcome: Outcome, said: str | None) -> Score:
    from inspect_ai.scorer import Score

    return Score(value=outcome.value, explanation=visible(said) if said else None)


def _scores(task: Task, evidence: Evidence) -> list[Any]:
    """Return the rates, their intervals and notes with them, as metrics of Inspect's scorers."""
    from inspect_ai.log import EvalMetric, EvalScore

    rates = task.rates(evidence)
    scorers: dict[str, dict[str, str]] = {
        "answer": {outcome.value: outcome.value for outcome in Outcome},
        "thought": {outcome.value: f"{View.THOUGHT}.{outcome}" for outcome in Outcome},
        **{name: {"accuracy": name} for name in _CORRECT},
    }
    return [
        EvalScore(
            name=scorer,
            scorer=scorer,
            metrics={
                name: EvalMetric(
                    name=name,
                    value=rates[measure].rate,
                    metadata=task.told(rates[measure]),
                )
                for name, measure in metrics.items()
                if measure in rates
            },
        )
        for scorer, metrics in scorers.items()
        if any(measure in rates for measure in metrics.values())
    ]
